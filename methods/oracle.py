"""Oracle: supervised training with the true labels, an upper bound for methods against label noise."""

from __future__ import annotations

from typing import ClassVar

from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views


class Oracle(Method):
    """Cross-entropy on the true labels of the labelled images: an upper bound, not a method to use.

    L = sum_j k_j CE(z_j, true_j) / max(1, sum_j k_j), k_j = 1 where the true label of image j is known. Only this
    method learns from true labels; everywhere else they serve diagnostics. Source: ours, as in every paper on noisy
    labels. When: beside methods against label noise, to see how much of the loss is the noise's.
    """

    uses_truth: ClassVar[bool] = True
    views = Views(labelled=("weak",))
    in_flight = ("model_ema",)

    def loss(self, batch: Batch) -> Terms:
        true = batch.labelled.true
        total = F.cross_entropy(self.model(batch.labelled.weak), true, ignore_index=-1, reduction="sum")
        return Terms(labelled=total / (true >= 0).sum().clamp(min=1))
