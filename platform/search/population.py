"""Population-based training in the table's language: a row is never changed, a bad one is followed by a new one.

Jaderberg et al., 2017, arXiv 1711.09846: truncation selection, then perturbation or resampling. Where theirs overwrites
a member, here a row of the worst quarter at a mark ends there, and a child row is made from one of the best quarter: it
starts from that row's state at this mark, with changed values, and trains the steps that are left. So a study costs its
population times its steps, and every row says what it was. The table is judged as it comes in: nothing waits.
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
"""Chance that a value is drawn anew instead of moved (the paper's)."""

FACTORS = (0.8, 1.2)
"""What a value on a logarithmic scale is multiplied by (the paper's). Others move by as much of their range: 0.99 times
1.2 would leave the range of every moving average."""


class Population:
    """The scores of a study's rows at its marks, and who follows whom."""

    def __init__(self, study: Study, evaluations: int, grace: int, maximise: bool) -> None:
        self.study = study
        self.marks = perturbations(evaluations, grace)
        self.ended: dict[str, int] = {}  # rows that were of the worst, and the mark where
        self._sign = 1 if maximise else -1
        self._scores: dict[int, dict[str, float]] = {mark: {} for mark in self.marks}

    def note(self, key: str, evaluation: int, score: float | None) -> None:
        """A score that is known and judges nothing (any more)."""
        if evaluation in self._scores and score is not None and score == score:
            self._scores[evaluation].setdefault(key, self._sign * score)

    def judge(self, key: str, evaluation: int, score: float) -> bool:
        """Whether the row ends here: of the worst quarter of the scores known at this mark, its own included."""
        scores = self._scores.get(evaluation, {})
        if evaluation not in self._scores or key in scores:
            return False
        self.note(key, evaluation, score)
        if self.is_worst(key, evaluation):
            self.ended[key] = evaluation
        return key in self.ended

    def is_worst(self, key: str, mark: int) -> bool:
        """Whether the row is of the worst quarter of the scores that are known there, and there are enough of them."""
        scores = self._scores.get(mark, {})
        if key not in scores or len(scores) < MEMBERS:
            return False
        better = sum(other > scores[key] for other in scores.values())
        return better >= len(scores) - math.floor(QUANTILE * len(scores))

    def kept(self, mark: int) -> list[str]:
        """Rows whose state at the mark may yet be gone on with: as many of the best as a whole population has."""
        most = math.ceil(QUANTILE * max(MEMBERS, self.study.trials))
        return self._best(mark, most)

    def parent(self, key: str) -> tuple[str, int]:
        """Which row the child of an ended row starts from, and at which mark."""
        mark = self.ended[key]
        best = self._best(mark, math.ceil(QUANTILE * len(self._scores[mark])))
        return self._chance(key).choice([other for other in best if other != key]), mark

    def changed(self, params: dict[str, Any], key: str, attempt: int = 0) -> dict[str, Any]:
        """The parameters of the child of an ended row, from its parent's. What cannot change in flight is inherited."""
        chance = self._chance(key, "values", attempt)
        names = [name for name in perturbable(self.study) if name in params]
        return params | {name: _moved(params[name], self.study.space[name].range, chance) for name in names}

    def _best(self, mark: int, count: int) -> list[str]:
        scores = self._scores[mark]
        return sorted(scores, key=lambda key: (-scores[key], key))[:count]

    def _chance(self, key: str, *names: str | int) -> random.Random:
        return random.Random(derive_seed(self.study.seeds["search"], "pbt", key, *names))


def _moved(value: Any, range_: Range, chance: random.Random) -> Value:
    """Another value of the range: drawn anew, or a step up or down."""
    if range_.kind == "choice":
        return chance.choice([other for other in range_.arguments if other != value] or [value])
    if chance.random() < RESAMPLE:
        if range_.log:
            return range_.nearest(math.exp(chance.uniform(math.log(range_.low), math.log(range_.high))))
        return range_.nearest(chance.uniform(range_.low, range_.high))
    factor = chance.choice(FACTORS)
    moved = value * factor if range_.log else value + (factor - 1) * (range_.high - range_.low)
    return range_.nearest(moved)
