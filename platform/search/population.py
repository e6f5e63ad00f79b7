"""Population-based training over the table: a row is never changed, a bad one has a new row as its successor.

Jaderberg et al., 2017, arXiv 1711.09846: truncation selection, then perturbation or resampling. Where theirs overwrites
a member, here a row of the worst quarter at a milestone ends there, and its successor is a child of one of the best
quarter: it starts from that row's state at this milestone, with changed values, and trains the steps that are left. So
a study costs its population times its steps, and every row keeps its own record. Scores are compared with those known
at the time: no trial waits for another.
"""

from __future__ import annotations

import math
import random
from typing import Any

from methods.ranges import Range, Value
from platform.core.rungs import perturbations
from platform.core.spec import derive_seed
from platform.sweepfile import Study
from platform.sweepfile.compatibility import MEMBERS, QUANTILE, perturbable

RESAMPLE = 0.25
"""Probability that a value is drawn anew instead of moved (the paper's)."""

FACTORS = (0.8, 1.2)
"""What a value on a logarithmic scale is multiplied by (the paper's). Others move by as much of their range: 0.99 times
1.2 would leave the range of every moving average."""


class Population:
    """The scores of a study's rows at its milestones (evaluations), and which rows end there.

    ended: rows that were of the worst, with the milestone where.
    """

    def __init__(self, study: Study, evaluations: int, grace: int, maximise: bool) -> None:
        self.study = study
        self.milestones = perturbations(evaluations, grace)
        self.ended: dict[str, int] = {}
        self._sign = 1 if maximise else -1
        self._scores: dict[int, dict[str, float]] = {milestone: {} for milestone in self.milestones}

    def note(self, key: str, evaluation: int, score: float | None) -> None:
        """Record a score for comparison with others; the row itself is not judged."""
        if evaluation in self._scores and score is not None and score == score:
            self._scores[evaluation].setdefault(key, self._sign * score)

    def judge(self, key: str, evaluation: int, score: float) -> bool:
        """Whether the row ends here: in the worst quarter of the scores known at this milestone, its own included."""
        scores = self._scores.get(evaluation, {})
        if evaluation not in self._scores or key in scores:
            return False
        self.note(key, evaluation, score)
        if self.is_worst(key, evaluation):
            self.ended[key] = evaluation
        return key in self.ended

    def is_worst(self, key: str, milestone: int) -> bool:
        """Whether the row is in the worst quarter of the scores known there, and there are enough of them."""
        scores = self._scores.get(milestone, {})
        if key not in scores or len(scores) < MEMBERS:
            return False
        better = sum(other > scores[key] for other in scores.values())
        return better >= len(scores) - math.floor(QUANTILE * len(scores))

    def kept(self, milestone: int) -> list[str]:
        """Rows whose state at the milestone may yet have a child: as many of the best as a whole population has."""
        most = math.ceil(QUANTILE * max(MEMBERS, self.study.trials))
        return self._best(milestone, most)

    def parent(self, key: str) -> tuple[str, int]:
        """The row that the child of an ended row starts from, and the milestone."""
        milestone = self.ended[key]
        best = self._best(milestone, math.ceil(QUANTILE * len(self._scores[milestone])))
        return self._generator(key).choice([other for other in best if other != key]), milestone

    def changed(self, params: dict[str, Any], key: str, attempt: int = 0) -> dict[str, Any]:
        """The parameters of the successor of row `key`, from its parent's. Those that cannot change in training are
        inherited."""
        generator = self._generator(key, "values", attempt)
        names = [name for name in perturbable(self.study) if name in params]
        return params | {name: _moved(params[name], self.study.space[name].range, generator) for name in names}

    def _best(self, milestone: int, count: int) -> list[str]:
        scores = self._scores[milestone]
        return sorted(scores, key=lambda key: (-scores[key], key))[:count]

    def _generator(self, key: str, *names: str | int) -> random.Random:
        return random.Random(derive_seed(self.study.seeds["search"], "pbt", key, *names))


def _moved(value: Any, range_: Range, generator: random.Random) -> Value:
    """Another value of the range: drawn anew, or one step up or down."""
    if range_.kind == "choice":
        return generator.choice([other for other in range_.arguments if other != value] or [value])
    if generator.random() < RESAMPLE:
        if range_.log:
            return range_.nearest(math.exp(generator.uniform(math.log(range_.low), math.log(range_.high))))
        return range_.nearest(generator.uniform(range_.low, range_.high))
    factor = generator.choice(FACTORS)
    moved = value * factor if range_.log else value + (factor - 1) * (range_.high - range_.low)
    return range_.nearest(moved)
