"""Test predictions as counts, by a case computed by hand."""

from __future__ import annotations

import math

import torch

from platform.training.prediction_counts import prediction_counts


def test_counts_of_five_images():
    """Confidences 0.5 (of two equal logits, the first counts), 0.9, 0.9 and two images that do not count."""
    sure = math.log(9.0)  # softmax of (0, sure) = (0.1, 0.9)
    logits = torch.tensor([[0.0, 0.0], [0.0, sure], [sure, 0.0], [5.0, 0.0], [math.nan, 0.0]])
    found = prediction_counts(logits, torch.tensor([0, 1, 1, -1, 0]), ("cat", "dog"))
    assert found["classes"] == ["cat", "dog"]
    assert found["confusion"] == [[0, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert len(found["bins"]) == 15
    assert {place: bins for place, bins in enumerate(found["bins"]) if bins[0]} == {7: [1, 1, 0.5], 13: [2, 1, 1.8]}
