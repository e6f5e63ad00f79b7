"""Where a trial is evaluated, and where a scheduler may stop it."""

from __future__ import annotations

import math


def evaluation_steps(steps: int, evaluations: int) -> list[int]:
    """Steps after which a trial is evaluated: k steps / evaluations, rounded half up, for k = 1 .. evaluations.

    The last is always `steps`; with more evaluations than steps, one after each step.
    """
    marks = {(2 * k * steps + evaluations) // (2 * evaluations) for k in range(1, evaluations + 1)}
    return sorted(marks - {0})


def rungs(evaluations: int, reduction_factor: int = 3, grace: int = 1) -> list[int]:
    """Evaluations (counted from 1) at which ASHA judges: grace, grace * factor, ... before the last one.

    As Ray's AsyncHyperBandScheduler with max_t = evaluations: the last evaluation ends the trial, it judges nothing.
    """
    found, rung = [], grace
    while rung < evaluations:
        found.append(rung)
        rung *= reduction_factor
    return found


def brackets(evaluations: int, reduction_factor: int = 3, grace: int = 1) -> list[list[int]]:
    """The rungs of each bracket of the asynchronous Hyperband: each starts one rung later, the last stops nothing."""
    marks = rungs(evaluations, reduction_factor, grace)
    return [marks[first:] for first in range(len(marks) + 1)]


def shares(of: list[list[int]]) -> list[float]:
    """The part of the trials in each bracket: a softmax of its number of rungs, as Ray's AsyncHyperBandScheduler."""
    weights = [math.exp(len(marks)) for marks in of]
    return [weight / sum(weights) for weight in weights]


def perturbations(evaluations: int, grace: int = 1) -> list[int]:
    """Evaluations at which population-based training judges: every `grace`, before the last one."""
    return list(range(grace, evaluations, grace))
