"""What ASHA really does to a study, by simulation: the stopping variant judges each trial against earlier ones only."""

from __future__ import annotations

import random
from bisect import insort
from dataclasses import dataclass

from platform.sweepfile.rungs import rungs


@dataclass(frozen=True)
class Forecast:
    """Means over simulated studies: trials that reach each rung, trials that end, evaluations made of all possible."""

    reach: tuple[float, ...]
    finish: float
    share: float


def forecast(trials: int, evaluations: int, reduction_factor: int, grace: int) -> Forecast:
    """What becomes of `trials` whose scores come in random order and rank alike at every rung.

    A trial stops at a rung if it is below the (1 - 1/reduction_factor) quantile of those that were there before it
    (Ray's AsyncHyperBandScheduler). Nothing waits, so the means do not depend on how many run at once.
    """
    marks = rungs(evaluations, reduction_factor, grace)
    repeats = max(20, 20_000 // trials)
    chance = random.Random(0)
    reach, finish, spent = [0] * len(marks), 0, 0
    for _ in range(repeats):
        seen: list[list[float]] = [[] for _ in marks]
        for score in (chance.random() for _ in range(trials)):
            last = _last_evaluation(score, seen, marks, evaluations, 1 - 1 / reduction_factor)
            reach = [count + (last >= mark) for count, mark in zip(reach, marks, strict=True)]
            finish += last == evaluations
            spent += last
    return Forecast(tuple(r / repeats for r in reach), finish / repeats, spent / (repeats * trials * evaluations))


def _last_evaluation(score: float, seen: list[list[float]], marks: list[int], evaluations: int, part: float) -> int:
    for before, mark in zip(seen, marks, strict=True):
        stop = bool(before) and score < _quantile(before, part)
        insort(before, score)
        if stop:
            return mark
    return evaluations


def _quantile(ordered: list[float], part: float) -> float:
    """Linear interpolation, as numpy's percentile."""
    place = (len(ordered) - 1) * part
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
