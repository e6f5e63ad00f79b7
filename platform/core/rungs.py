"""The steps at which a trial is evaluated, and the evaluations at which a scheduler may stop it."""

from __future__ import annotations

import math


def evaluation_steps(steps: int, evaluations: int) -> list[int]:
    """Steps after which a trial is evaluated: k steps / evaluations, rounded half up, for k = 1 .. evaluations.

    The last is always `steps`; with more evaluations than steps, one after each step.
    """
    rounded = {(2 * k * steps + evaluations) // (2 * evaluations) for k in range(1, evaluations + 1)}
    return sorted(rounded - {0})


def rungs(evaluations: int, reduction_factor: int = 3, grace: int = 1) -> list[int]:
    """Evaluations (counted from 1) at which ASHA may end a trial: grace, grace * factor, ... before the last one.

    As Ray's AsyncHyperBandScheduler with max_t = evaluations: the last evaluation ends the trial in any case.
    """
    milestones, milestone = [], grace
    while milestone < evaluations:
        milestones.append(milestone)
        milestone *= reduction_factor
    return milestones


def brackets(evaluations: int, reduction_factor: int = 3, grace: int = 1) -> list[list[int]]:
    """The rungs of each bracket of asynchronous Hyperband: each starts one rung later, the last stops nothing."""
    milestones = rungs(evaluations, reduction_factor, grace)
    return [milestones[first:] for first in range(len(milestones) + 1)]


def shares(of: list[list[int]]) -> list[float]:
    """The part of the trials in each bracket: a softmax of its number of rungs, as Ray's AsyncHyperBandScheduler."""
    weights = [math.exp(len(milestones)) for milestones in of]
    return [weight / sum(weights) for weight in weights]


def perturbations(evaluations: int, grace: int = 1) -> list[int]:
    """Evaluations at which population-based training replaces trials: every `grace`, before the last one."""
    return list(range(grace, evaluations, grace))
