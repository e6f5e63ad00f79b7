"""What a trial says at each evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class Report:
    """One evaluation.

    `metrics` always has train_loss, noisy_val_accuracy, clean_val_accuracy (NaN where the truth is unknown), val_clid,
    test_accuracy, lr, images_per_second; then loss/NAME per loss term and diag/NAME per diagnostic of the method.
    `outcome` is set on the last report only.
    """

    step: int
    seconds: float  # of training and evaluation since the trial's first step, preempted parts included
    metrics: dict[str, float] = field(default_factory=dict)
    outcome: Literal["completed", "diverged"] | None = None
