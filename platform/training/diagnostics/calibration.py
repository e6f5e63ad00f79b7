"""Calibration: whether a model is as often right as it is sure (docs/layermatch.md, section 8, item 11)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["calibration"]

BINS = 15


def calibration(logits: Tensor, true: Tensor) -> dict[str, Tensor]:
    """ece, confidence_right, confidence_wrong from logits [N, K] and true labels [N] (-1 = unknown); on the device.

    ece = sum_b n_b / n |accuracy_b - confidence_b| over 15 bins of equal width (Guo et al., 2017, arXiv 1706.04599).
    NaN where no image counts.
    """
    confidence, guess = logits.float().softmax(dim=1).max(dim=1)
    known = ((true >= 0) & confidence.isfinite()).float()
    confidence = confidence.nan_to_num()
    right = known * (guess == true)
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, device=logits.device).index_add_(0, bins, right - known * confidence)
    wrong = known - right
    return {
        "ece": gaps.abs().sum() / known.sum(),
        "confidence_right": (right * confidence).sum() / right.sum(),
        "confidence_wrong": (wrong * confidence).sum() / wrong.sum(),
    }
