"""The effect of a scheduler on a study, by simulation with its own stopping rules on trials that come one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, pstdev

from platform.core.rungs import brackets, rungs, shares
from platform.core.stopping_rules import MedianStopping, SuccessiveHalving


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
    """The forecast for `trials` whose scores come in random order and rank alike at every rung.

    A trial is compared with those that were at a rung before it, so the means do not depend on how many run at once.
    With hyperband each trial falls into one of the brackets and is compared within it.
    """
    milestones = rungs(evaluations, reduction_factor, grace)
    groups = brackets(evaluations, reduction_factor, grace) if hyperband else [milestones]
    weights = shares(groups)
    generator = random.Random(0)

    def study() -> list[int]:
        rules = [SuccessiveHalving(group, reduction_factor) for group in groups]
        last = []
        for trial in range(trials):
            score = generator.random()
            bracket = generator.choices(range(len(groups)), weights)[0] if hyperband else 0
            last.append(_last_evaluation(rules[bracket], f"{trial}", score, groups[bracket], evaluations))
        return last

    return _means(study, milestones, trials, evaluations)


def forecast_median(trials: int, evaluations: int, grace: int, samples: int) -> Forecast:
    """The same for the median rule. reach: at the evaluations from `grace` on."""
    generator = random.Random(0)
    places = range(grace, evaluations)

    def study() -> list[int]:
        rule = MedianStopping(grace, samples)
        scores = (generator.random() for _ in range(trials))
        return [_last_evaluation(rule, f"{n}", score, places, evaluations) for n, score in enumerate(scores)]

    return _means(study, list(places), trials, evaluations)


def _means(study: Callable[[], list[int]], milestones: list[int], trials: int, evaluations: int) -> Forecast:
    repeats = max(20, 20_000 // trials)
    reach, finish = [0] * len(milestones), 0
    shares = []
    for ends in (study() for _ in range(repeats)):
        for last in ends:
            reach = [count + (last >= milestone) for count, milestone in zip(reach, milestones, strict=True)]
            finish += last == evaluations
        shares.append(sum(ends) / (trials * evaluations))
    return Forecast(tuple(r / repeats for r in reach), finish / repeats, fmean(shares), pstdev(shares))


def _last_evaluation(
    rule: SuccessiveHalving | MedianStopping, key: str, score: float, places: Iterable[int], evaluations: int
) -> int:
    """The evaluation at which a trial with the same score at every evaluation ends."""
    return next((place for place in places if rule.stops(key, place, score)), evaluations)
