"""Learning rates as functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable

from platform.core.spec import TrainSettings

__all__ = ["SCHEDULES", "learning_rate"]


def cosine_7_16(progress: float, train: TrainSettings) -> float:
    """max(0, cos(7 pi t / (16 N))): FixMatch's, which ends at 0.195 of the peak (docs/layermatch.md, section 5)."""
    return max(0.0, math.cos(7 * math.pi * progress / 16))


def cosine_half(progress: float, train: TrainSettings) -> float:
    """(1 + cos(pi t / N)) / 2, which ends at 0."""
    return (1 + math.cos(math.pi * progress)) / 2


def constant(progress: float, train: TrainSettings) -> float:
    return 1.0


def multistep(progress: float, train: TrainSettings) -> float:
    """gamma^k, k the milestones at or before t / N: DivideMix's (0.5), ELR's (1/3, 2/3, gamma 0.01)."""
    return train.gamma ** sum(progress >= milestone - ROUNDING for milestone in train.milestones)


def linear(progress: float, train: TrainSettings) -> float:
    """1 to the first milestone m (0 without one), then (1 - t / N) / (1 - m): Co-teaching's (0.4)."""
    return min(1.0, (1 - progress) / (1 - next(iter(train.milestones), 0.0)))


def warm_restarts(progress: float, train: TrainSettings) -> float:
    """(1 + cos(pi s)) / 2 over each period, s in [0, 1), from lr down to lr_min (SGDR, arXiv 1608.03983)."""
    phase = (progress / train.period + ROUNDING) % 1
    return _between(train, (1 + math.cos(math.pi * phase)) / 2)


def cosine_waves(progress: float, train: TrainSettings) -> float:
    """(1 + cos(pi t / (period N))) / 2: down to lr_min in one period, up in the next. PyTorch's CosineAnnealingLR past
    its T_max, and so CLID-MU's."""
    return _between(train, (1 + math.cos(math.pi * progress / train.period)) / 2)


def _between(train: TrainSettings, share: float) -> float:
    return share + (1 - share) * min(1.0, train.lr_min / train.lr)


ROUNDING = 1e-9
"""t / N of the step of a milestone, or of a restart, may fall short of it by this much."""

SCHEDULES: dict[str, Callable[[float, TrainSettings], float]] = {
    "cosine_7_16": cosine_7_16,
    "cosine_half": cosine_half,
    "constant": constant,
    "multistep": multistep,
    "linear": linear,
    "warm_restarts": warm_restarts,
    "cosine_waves": cosine_waves,
}


def learning_rate(train: TrainSettings, step: int) -> float:
    """The rate of step `step` (from 0). Warm-up is lr (step + 1) / warmup; the schedule covers the steps after it."""
    if step < train.warmup:
        return train.lr * (step + 1) / train.warmup
    progress = (step - train.warmup) / max(1, train.steps - train.warmup)
    return train.lr * SCHEDULES[train.schedule](progress, train)
