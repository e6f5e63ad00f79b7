"""The standing of each method: the winners of its studies, their repeats, and means with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from platform.core.row import Row, SweepInfo, has_score, winner
from platform.report.judge.estimate import FEWEST, Estimate, mean_estimate

OUTCOMES = ("completed", "pruned", "diverged", "failed", "preempted")


def repeats(rows: Sequence[Row], won: Row) -> list[Row]:
    """The repeats of a winner, in order. Repeats of an earlier winner of that study do not count."""
    matching = [row for row in rows if row.repeat and (row.study, row.number, row.params) == _identity(won)]
    return sorted(matching, key=lambda row: row.repeat)


def _identity(row: Row) -> tuple[str, int, dict[str, Any]]:
    return row.study, row.number, row.params


def with_n(mean: Estimate) -> str:
    """The mean, its interval and its number of values, or why it has no interval."""
    if mean.low is not None:
        return f"{mean.text()}, n = {mean.n}"
    why = "" if mean.n == 1 else f" below {FEWEST}" if mean.n < FEWEST else f": {mean.why}"
    return f"{mean.text()} (n = {mean.n}, no interval{why})"


@dataclass(frozen=True)
class Standing:
    """One method of a sweep. `score` and `test_accuracy` are of its `repeats` where `on_repeats`, else of its winners.

    counts: outcomes of the search's trials. repeats: completed ones, of `tried` that were run.
    """

    method: str
    winners: list[Row]  # of the studies that have one
    studies: int
    counts: Counter[str]
    score: Estimate | None = None
    test_accuracy: Estimate | None = None
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

    Methods are compared on repeats as soon as every method that has a winner has repeats of all its winners. Means and
    intervals are the judge's (platform/report/judge/estimate.py): over studies where there are several, as results of
    one search are not independent; of a single study over its repeats: how the configuration that it chose varies.
    """
    ranked = [_standing(info, method, [row for row in rows if row.method == method]) for method in info.methods]
    won = [standing for standing in ranked if standing.winners]
    if won and all(_repeated(standing, rows) for standing in won):
        ranked = [replace(standing, on_repeats=True) if standing.winners else standing for standing in ranked]
    several = len({_index(row) for standing in ranked for row in standing.compared}) > 1
    ranked = [_with_means(standing, "accuracy" in info.select, several) for standing in ranked]
    sign = -1 if info.maximise else 1
    return sorted(ranked, key=lambda s: (s.score is None, sign * s.score.value if s.score else 0.0))


def _standing(info: SweepInfo, method: str, trials: Sequence[Row]) -> Standing:
    """Without its means."""
    winners = study_winners(info, method, trials)
    again = [row for won in winners for row in repeats(trials, won) if row.outcome not in (None, "preempted")]
    return Standing(
        method,
        winners,
        sum(study.rpartition("/")[0] == method for study in info.studies),
        Counter(row.outcome or "running" for row in trials if not row.repeat),
        repeats=[row for row in again if has_score(row)],
        tried=len(again),
        searched_seconds=sum(row.spent for row in trials if not row.repeat),
        repeated_seconds=sum(row.spent for row in trials if row.repeat),
    )


def study_winners(info: SweepInfo, method: str, rows: Sequence[Row]) -> list[Row]:
    """The winner so far of each study of a method that has one, the studies in order."""
    studies = [study for study in info.studies if study.rpartition("/")[0] == method]
    best = [winner([row for row in rows if row.study == study], info.maximise) for study in studies]
    return [row for row in best if row is not None]


def _repeated(standing: Standing, rows: Sequence[Row]) -> bool:
    ended = [[r for r in repeats(rows, won) if r.outcome not in (None, "preempted")] for won in standing.winners]
    return all(ended)


def _with_means(standing: Standing, accuracy: bool, several: bool) -> Standing:
    scores = [(_index(row), row.score) for row in standing.compared if row.score is not None]
    tests = [(_index(row), row.test_accuracy) for row in standing.compared if row.test_accuracy is not None]
    bounded = accuracy and all(0 <= score <= 1 for _, score in scores)
    return replace(
        standing,
        score=mean_estimate(_blocks(scores, several), accuracy=bounded),
        test_accuracy=mean_estimate(_blocks(tests, several), accuracy=True),
    )


def _blocks(values: Sequence[tuple[int, float]], by_study: bool) -> list[float]:
    """The mean of each study, or each value by itself. values: the study's index and a value."""
    if not by_study:
        return [value for _, value in values]
    studies: dict[int, list[float]] = {}
    for index, value in values:
        studies.setdefault(index, []).append(value)
    return [sum(group) / len(group) for group in studies.values()]


def _index(row: Row) -> int:
    return int(row.study.rpartition("/")[2])


def paired_difference(a: Standing, b: Standing) -> Estimate | None:
    """Mean of a's test accuracy minus b's on what both have: the same repeats, or else the same studies.

    What shares a seed shares splits, noise and initial weights, so their noise cancels. None below two pairs.
    """
    if a.on_repeats != b.on_repeats:
        return None
    first, second = ({(_index(row), row.repeat): row.test_accuracy for row in s.compared} for s in (a, b))
    pairs = [(k[0], first[k], second[k]) for k in sorted(first.keys() & second.keys())]
    known = [(index, x - y) for index, x, y in pairs if x is not None and y is not None]
    if len(known) < 2:
        return None
    gaps = _blocks(known, by_study=len({index for index, _ in known}) > 1)
    return mean_estimate([round(gap, 12) for gap in gaps], limit=1.0)  # 0.3 - 0.2 and 0.2 - 0.1 are equal
