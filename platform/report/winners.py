"""Who won: the winner of each study, and the mean over studies with its interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from platform.table import Row, SweepInfo

OUTCOMES = ("completed", "pruned", "diverged", "failed", "preempted")


def winner(rows: Sequence[Row], maximise: bool) -> Row | None:
    """The best completed trial by the selection rule; of equals the earlier one. The test set has no say."""
    done = [row for row in rows if row.outcome == "completed" and row.score is not None and math.isfinite(row.score)]
    return min(done, key=lambda row: (-row.score if maximise else row.score, row.number), default=None)  # type: ignore[operator]


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
    """One method of a sweep."""

    method: str
    winners: list[Row]  # of the studies that have one
    studies: int
    counts: Counter[str]
    score: Mean | None
    test_accuracy: Mean | None


def standings(info: SweepInfo, rows: Sequence[Row]) -> list[Standing]:
    """All methods, best mean score first; methods without a winner last."""
    found = []
    for method in info.methods:
        mine = [row for row in rows if row.method == method]
        studies = [s for s in info.studies if s.rpartition("/")[0] == method]
        best = [winner([row for row in mine if row.study == study], info.maximise) for study in studies]
        winners = [row for row in best if row is not None]
        tests = [row.test_accuracy for row in winners if row.test_accuracy is not None]
        score = mean([row.score for row in winners if row.score is not None])
        counts = Counter(row.outcome or "running" for row in mine)
        found.append(Standing(method, winners, len(studies), counts, score, mean(tests)))
    sign = -1 if info.maximise else 1
    return sorted(found, key=lambda s: (s.score is None, sign * s.score.value if s.score else 0.0))


def paired_difference(a: Standing, b: Standing) -> Mean | None:
    """Mean of a's test accuracy minus b's within each study index that both have a winner of; None below two."""
    mine, theirs = ({int(row.study.rpartition("/")[2]): row.test_accuracy for row in s.winners} for s in (a, b))
    pairs = [(mine[k], theirs[k]) for k in sorted(mine.keys() & theirs.keys())]
    known = [x - y for x, y in pairs if x is not None and y is not None]
    return mean(known) if len(known) > 1 else None
