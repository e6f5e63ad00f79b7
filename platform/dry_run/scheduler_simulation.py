"""What a scheduler really does to a study, by simulation: each trial is judged against earlier ones only."""

from __future__ import annotations

import random
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, pstdev

from platform.core.rungs import brackets, rungs, shares


@dataclass(frozen=True)
class Forecast:
    """Means over simulated studies: trials that reach each rung, trials that end, evaluations made of all possible.

    spread: the standard deviation of the share from study to study.
    """

    reach: tuple[float, ...]
    finish: float
    share: float
    spread: float = 0.0


def forecast(trials: int, evaluations: int, reduction_factor: int, grace: int, hyperband: bool = False) -> Forecast:
    """What becomes of `trials` whose scores come in random order and rank alike at every rung.

    A trial stops at a rung if it is below the (1 - 1/reduction_factor) quantile of those that were there before it
    (Ray's AsyncHyperBandScheduler). Nothing waits, so the means do not depend on how many run at once. With hyperband
    each trial falls into one of the brackets and is judged within it.
    """
    marks = rungs(evaluations, reduction_factor, grace)
    groups = brackets(evaluations, reduction_factor, grace) if hyperband else [marks]
    weights = shares(groups)
    chance = random.Random(0)

    def study() -> list[int]:
        seen: list[list[list[float]]] = [[[] for _ in group] for group in groups]
        found = []
        for score in (chance.random() for _ in range(trials)):
            place = chance.choices(range(len(groups)), weights)[0] if hyperband else 0
            part = 1 - 1 / reduction_factor
            found.append(_last_evaluation(score, seen[place], groups[place], evaluations, part))
        return found

    return _means(study, marks, trials, evaluations)


def forecast_median(trials: int, evaluations: int, grace: int, samples: int) -> Forecast:
    """The same for the median rule: a trial stops at an evaluation from `grace` on where its best score so far is below
    the median of the means of the others that got there, once there are `samples` of them (Ray's MedianStoppingRule).

    reach: at the evaluations from `grace` on.
    """
    chance = random.Random(0)
    marks = list(range(grace, evaluations))

    def study() -> list[int]:
        seen: dict[int, list[float]] = {mark: [] for mark in marks}
        found = []
        for score in (chance.random() for _ in range(trials)):
            last = evaluations
            for mark in marks:
                stop = len(seen[mark]) >= samples and score < _quantile(seen[mark], 0.5)
                insort(seen[mark], score)
                if stop:
                    last = mark
                    break
            found.append(last)
        return found

    return _means(study, marks, trials, evaluations)


def _means(study: Callable[[], list[int]], marks: list[int], trials: int, evaluations: int) -> Forecast:
    repeats = max(20, 20_000 // trials)
    reach, finish = [0] * len(marks), 0
    shares = []
    for found in (study() for _ in range(repeats)):
        for last in found:
            reach = [count + (last >= mark) for count, mark in zip(reach, marks, strict=True)]
            finish += last == evaluations
        shares.append(sum(found) / (trials * evaluations))
    return Forecast(tuple(r / repeats for r in reach), finish / repeats, fmean(shares), pstdev(shares))


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
