"""The standing of each method: the winners of its studies, their repeats, and means with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from platform.core.row import Row, SweepInfo, has_score, winner

OUTCOMES = ("completed", "pruned", "diverged", "failed", "preempted")


def repeats(rows: Sequence[Row], won: Row) -> list[Row]:
    """The repeats of a winner, in order. Repeats of an earlier winner of that study do not count."""
    matching = [row for row in rows if row.repeat and (row.study, row.number, row.params) == _identity(won)]
    return sorted(matching, key=lambda row: row.repeat)


def _identity(row: Row) -> tuple[str, int, dict[str, Any]]:
    return row.study, row.number, row.params


@dataclass(frozen=True)
class Mean:
    """A mean with its 95 % interval (Student's t); no interval where n < 2."""

    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.value:.4f} (n = {self.n}, no interval)"
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}], n = {self.n}"


def mean(values: Sequence[float]) -> Mean | None:
    """None where there are no values."""
    if not values:
        return None
    centre = sum(values) / len(values)
    if len(values) < 2:
        return Mean(centre, None, None, len(values))
    from scipy import stats

    error = stats.sem(values)
    if error == 0:
        return Mean(centre, centre, centre, len(values))
    low, high = stats.t.interval(0.95, len(values) - 1, loc=centre, scale=error)
    return Mean(centre, float(low), float(high), len(values))


@dataclass(frozen=True)
class Standing:
    """One method of a sweep. `score` and `test_accuracy` are of its `repeats` where `on_repeats`, else of its winners.

    counts: outcomes of the search's trials. repeats: completed ones, of `tried` that were run.
    """

    method: str
    winners: list[Row]  # of the studies that have one
    studies: int
    counts: Counter[str]
    score: Mean | None
    test_accuracy: Mean | None
    repeats: list[Row] = field(default_factory=list)
    tried: int = 0
    on_repeats: bool = False
    searched_seconds: float = 0.0  # charged to its searches
    repeated_seconds: float = 0.0  # and to re-training winners, those of earlier winners included

    @property
    def compared(self) -> list[Row]:
        return self.repeats if self.on_repeats else self.winners


def standings(info: SweepInfo, rows: Sequence[Row]) -> list[Standing]:
    """All methods, best mean score first; methods without a score last.

    Methods are compared on repeats as soon as every method that has a winner has repeats of all its winners.
    """
    ranked = [_standing(info, method, [row for row in rows if row.method == method]) for method in info.methods]
    won = [standing for standing in ranked if standing.winners]
    if won and all(_repeated(standing, rows) for standing in won):
        ranked = [_on_repeats(standing) if standing.winners else standing for standing in ranked]
    sign = -1 if info.maximise else 1
    return sorted(ranked, key=lambda s: (s.score is None, sign * s.score.value if s.score else 0.0))


def _standing(info: SweepInfo, method: str, trials: Sequence[Row]) -> Standing:
    studies = [s for s in info.studies if s.rpartition("/")[0] == method]
    best = [winner([row for row in trials if row.study == study], info.maximise) for study in studies]
    winners = [row for row in best if row is not None]
    again = [row for won in winners for row in repeats(trials, won) if row.outcome not in (None, "preempted")]
    return Standing(
        method,
        winners,
        len(studies),
        Counter(row.outcome or "running" for row in trials if not row.repeat),
        _mean_over(winners, lambda row: row.score),
        _mean_over(winners, lambda row: row.test_accuracy),
        [row for row in again if has_score(row)],
        len(again),
        False,
        sum(row.spent for row in trials if not row.repeat),
        sum(row.spent for row in trials if row.repeat),
    )


def _repeated(standing: Standing, rows: Sequence[Row]) -> bool:
    ended = [[r for r in repeats(rows, won) if r.outcome not in (None, "preempted")] for won in standing.winners]
    return all(ended)


def _on_repeats(standing: Standing) -> Standing:
    score = _mean_over(standing.repeats, lambda row: row.score)
    tests = _mean_over(standing.repeats, lambda row: row.test_accuracy)
    return replace(standing, score=score, test_accuracy=tests, on_repeats=True)


def _mean_over(rows: Sequence[Row], value: Callable[[Row], float | None]) -> Mean | None:
    known = [(row, number) for row in rows if (number := value(row)) is not None]
    return _by_study([(_index(row), number) for row, number in known])


def _by_study(values: Sequence[tuple[int, float]]) -> Mean | None:
    """The mean, and its interval over studies where there are several: results of one search are not independent.

    Of a single study, over its repeats: how the configuration that it chose varies over seeds.
    """
    studies: dict[int, list[float]] = {}
    for index, value in values:
        studies.setdefault(index, []).append(value)
    if len(studies) == 1:
        return mean([value for _, value in values])
    return mean([sum(group) / len(group) for group in studies.values()])


def _index(row: Row) -> int:
    return int(row.study.rpartition("/")[2])


def paired_difference(a: Standing, b: Standing) -> Mean | None:
    """Mean of a's test accuracy minus b's on what both have: the same repeats, or else the same studies.

    What shares a seed shares splits, noise and initial weights, so their noise cancels. None below two pairs.
    """
    if a.on_repeats != b.on_repeats:
        return None
    first, second = ({(_index(row), row.repeat): row.test_accuracy for row in s.compared} for s in (a, b))
    pairs = [(k, first[k], second[k]) for k in sorted(first.keys() & second.keys())]
    known = [(k[0], x - y) for k, x, y in pairs if x is not None and y is not None]
    return _by_study(known) if len(known) > 1 else None
