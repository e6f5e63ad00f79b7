"""Test predictions of a trial as counts: which class was taken for which, and how often right when how sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from platform.training.diagnostics.calibration import BINS

__all__ = ["prediction_counts"]


def prediction_counts(logits: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """Plain data from logits [N, K] and labels [N] (-1 = unknown: does not count), both on the CPU.

    classes: names of the K classes. confusion: [label, guess, count] of every pair that occurs. bins: for 15 bins of
    confidence of equal width, [images, right ones, sum of their confidences].
    """
    confidence, guess = logits.float().softmax(dim=1).max(dim=1)
    counted = (labels >= 0) & confidence.isfinite()
    confidence, guess, labels = confidence[counted].double(), guess[counted], labels[counted]
    classes = logits.shape[1]
    table = torch.bincount(labels * classes + guess, minlength=classes * classes).reshape(classes, classes)
    places = (confidence * BINS).long().clamp(max=BINS - 1)
    right = (guess == labels).double()
    bins = torch.zeros(BINS, 3, dtype=torch.float64)
    bins.index_add_(0, places, torch.stack([torch.ones_like(right), right, confidence], dim=1))
    return {
        "classes": [str(name) for name in names],
        "confusion": [[i, k, int(table[i, k])] for i, k in table.nonzero().tolist()],
        "bins": [[int(images), int(hits), round(total, 4)] for images, hits, total in bins.tolist()],
    }
