"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from platform.core.spec import TrainSettings

__all__ = ["SCHEDULES", "learning_rate"]


def cosine_7_16(progress: float) -> float:
    """max(0, cos(7 pi t / (16 N))): FixMatch's, which ends at 0.195 of the peak (docs/layermatch.md, section 5)."""
    return max(0.0, math.cos(7 * math.pi * progress / 16))


def cosine_half(progress: float) -> float:
    """(1 + cos(pi t / N)) / 2, which ends at 0."""
    return (1 + math.cos(math.pi * progress)) / 2


def constant(progress: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine_7_16": cosine_7_16,
    "cosine_half": cosine_half,
    "constant": constant,
}


def learning_rate(train: TrainSettings, step: int) -> float:
    """The rate of step `step` (from 0). Warm-up is lr (step + 1) / warmup; the schedule covers the steps after it."""
    if step < train.warmup:
        return train.lr * (step + 1) / train.warmup
    progress = (step - train.warmup) / max(1, train.steps - train.warmup)
    return train.lr * SCHEDULES[train.schedule](progress)
