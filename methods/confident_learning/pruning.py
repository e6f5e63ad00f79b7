"""Pruning of labels that held-out predictions contradict."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.parts.ranks import ranks_within


@torch.no_grad()
def pruned(p: Tensor, y: Tensor, how: str) -> Tensor:
    """The mask [N] of pruned labels, from held-out predictions p [N, K] and given labels y [N]; y -1: none is."""
    member = (y[:, None] == torch.arange(p.shape[1], device=y.device)).to(p.dtype)
    counts = member.sum(dim=0)
    threshold = torch.where(counts > 0, (member * p).sum(dim=0) / counts.clamp(min=1), torch.inf)
    above = p >= threshold
    candidate = torch.where(above, p, -1).argmax(dim=1)
    counted = above.any(dim=1) & (y >= 0)
    if how == "off_diagonal":
        return counted & (candidate != y)
    confident = torch.zeros(len(counts), len(counts), dtype=p.dtype, device=p.device)
    confident.index_add_(1, candidate, member.T * counted)
    share = confident / confident.sum(dim=1, keepdim=True).clamp(min=1)
    wrong = (share * counts[:, None]).fill_diagonal_(0)  # of each given class, by the class they are taken for
    own = (member * p).sum(dim=1)
    if how == "class":
        return (y >= 0) & (ranks_within(-own, y, counts) < wrong.sum(dim=1).round()[y])
    found = torch.zeros_like(y, dtype=torch.bool)
    for other in range(len(counts)):
        found |= (y >= 0) & (ranks_within(p[:, other] - own, y, counts) < wrong[:, other].round()[y])
    return found
