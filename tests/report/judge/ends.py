"""The interval of an estimate that has to have one."""

from platform.report.judge.estimate import Estimate


def ends(estimate: Estimate | None) -> tuple[float, float]:
    assert estimate is not None and estimate.low is not None and estimate.high is not None
    return estimate.low, estimate.high


def width(estimate: Estimate | None) -> float:
    low, high = ends(estimate)
    return high - low
