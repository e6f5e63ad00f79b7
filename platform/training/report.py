"""The report of a trial at each evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass
class Report:
    """Metrics of one evaluation.

    `metrics` always has train_loss, noisy_val_accuracy, clean_val_accuracy (NaN where true labels are unknown),
    val_loss, val_clid, test_accuracy, lr, images_per_second; val_accuracy_spread, the standard deviation of
    noisy_val_accuracy over the last 5 evaluations (NaN for one); test_accuracy_clid_1, _3, _5, of the added test logits
    of the 1, 3, 5 evaluations with the lowest val_clid so far; then loss/NAME per loss term, diag/NAME per diagnostic.
    Metrics whose name begins with test_ are recorded, never selected on. `outcome` is set on the last report only.
    """

    step: int
    seconds: float  # of training and evaluation since the trial's first step, preempted parts included
    metrics: dict[str, float] = field(default_factory=dict)
    outcome: Literal["completed", "diverged"] | None = None
    predictions: dict[str, Any] | None = None  # of the test images, as counts, at the end of a completed trial
