"""Where a scheduler may stop a trial."""

from __future__ import annotations


def rungs(evaluations: int, reduction_factor: int = 3, grace: int = 1) -> list[int]:
    """Evaluations (counted from 1) at which ASHA judges: grace, grace * factor, ... before the last one.

    As Ray's AsyncHyperBandScheduler with max_t = evaluations: the last evaluation ends the trial, it judges nothing.
    """
    found, rung = [], grace
    while rung < evaluations:
        found.append(rung)
        rung *= reduction_factor
    return found
