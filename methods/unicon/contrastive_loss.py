"""The contrastive loss of UNICON on two views of each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32


def contrast(embedding: Tensor, weight: Tensor, temperature: float = 0.05) -> Tensor:
    """SimCLR's loss of embeddings [2 N, D], two views one after the other, over the rows of weight [2 N] 1 (else 0)."""
    unit = F.normalize(at_least_float32(embedding), dim=1)
    rows = torch.arange(len(unit), device=unit.device)
    out = (weight == 0)[None, :] | (rows[:, None] == rows[None, :])
    log_p = (unit @ unit.T / temperature).masked_fill(out, -1e9).log_softmax(dim=1)
    positive = log_p.gather(1, rows.roll(len(rows) // 2)[:, None])[:, 0]
    return -(weight * positive).sum() / weight.sum().clamp(min=1)
