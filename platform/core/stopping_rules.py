"""Rules that end bad trials early: a trial is compared with the scores that others have reported before it.

They decide as AsyncHyperBandScheduler and MedianStoppingRule of Ray Tune do, rounding included. A sweep's scheduler and
its simulation share them. Scores are numbers (no NaN), higher ones are better; evaluations are counted from 1.
"""

from __future__ import annotations

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

__all__ = ["MEDIAN_SAMPLES", "MedianStopping", "SuccessiveHalving", "quantile"]

MEDIAN_SAMPLES = 3
"""Trials at an evaluation from which on the median rule decides."""


class SuccessiveHalving:
    """Asynchronous successive halving in its stopping form (Li et al., 2018, arXiv 1810.05934): one bracket.

    A trial ends at a milestone where its score is below the (1 - 1/reduction_factor) quantile of the scores that are
    there. Nothing waits: the first trial at a milestone always goes on.
    """

    def __init__(self, milestones: Sequence[int], reduction_factor: int) -> None:
        self._part = (1 - 1 / reduction_factor) * 100 / 100  # rounded as numpy.nanpercentile rounds it
        self._rungs = [_Rung(milestone) for milestone in sorted(milestones, reverse=True)]

    def stops(self, key: str, evaluation: int, score: float) -> bool:
        """Record the score, and return whether the trial ends here.

        It counts at the highest milestone not above `evaluation` at which the trial has no score yet, if there is one.
        """
        rung = next((rung for rung in self._rungs if evaluation >= rung.milestone and key not in rung.keys), None)
        if rung is None:
            return False
        ends = bool(rung.scores) and score < quantile(rung.scores, self._part)
        rung.keys.add(key)
        insort(rung.scores, score)
        return ends


class _Rung:
    """The scores at a milestone, in ascending order."""

    def __init__(self, milestone: int) -> None:
        self.milestone = milestone
        self.keys: set[str] = set()
        self.scores: list[float] = []


class MedianStopping:
    """The median stopping rule of Vizier (Golovin et al., 2017, section 3.2.2).

    A trial ends at an evaluation from `grace` on where its best score so far is below the median of the others' mean
    scores from `grace` up to there, once `samples` others have come that far. Each evaluation counts once.
    """

    def __init__(self, grace: int, samples: int = MEDIAN_SAMPLES) -> None:
        self._grace, self._samples = grace, samples
        self._last: dict[str, int] = {}  # evaluation, by trial
        self._best: dict[str, float] = {}
        self._scores: defaultdict[str, list[float]] = defaultdict(list)  # from `grace` on
        self._means: defaultdict[int, list[float]] = defaultdict(list)  # ascending, by evaluation

    def record(self, key: str, evaluation: int, score: float) -> None:
        """Take note of a score that counts for other trials only."""
        last = self._last.get(key, 0)
        if evaluation <= last:
            return
        for missing in range(max(last + 1, self._grace), evaluation):  # the trial came past it without a score
            self._add_mean(key, missing)
        self._last[key] = evaluation
        self._best[key] = max(score, self._best.get(key, score))
        if evaluation >= self._grace:
            self._scores[key].append(score)
            self._add_mean(key, evaluation)

    def stops(self, key: str, evaluation: int, score: float) -> bool:
        """Record the score, and return whether the trial ends here."""
        if evaluation <= self._last.get(key, 0):
            return False
        others = self._means[evaluation]
        decides = evaluation >= self._grace and len(others) >= self._samples
        median = _median(others) if decides else -math.inf
        self.record(key, evaluation, score)
        return self._best[key] < median

    def _add_mean(self, key: str, evaluation: int) -> None:
        scores = self._scores[key]
        mean = float(np.mean(scores)) if scores else math.nan
        if math.isfinite(mean):
            insort(self._means[evaluation], mean)


def quantile(ordered: Sequence[float], part: float) -> float:
    """The quantile of ascending numbers by linear interpolation, with the roundings of numpy.percentile."""
    place = (len(ordered) - 1) * part
    low = math.floor(place)
    below, above = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
    weight = place - low
    if weight >= 0.5:
        return above - (above - below) * (1 - weight)
    return below + (above - below) * weight


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
