"""Ranks of scores within classes, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor


def ranks_within(score: Tensor, y: Tensor, counts: Tensor) -> Tensor:
    """Rank [N] of each score among those with the same y, 0 = largest; those with y -1 among themselves, too.

    counts: [K] how often each class occurs in y.
    """
    order = score.argsort(descending=True, stable=True)
    order = order[y[order].argsort(stable=True)]
    counts = counts.to(torch.long)
    start = len(y) - counts.sum() + counts.cumsum(dim=0) - counts
    first = torch.where(y >= 0, start[y], 0)
    return torch.empty_like(first).index_copy_(0, order, torch.arange(len(y), device=y.device)) - first
