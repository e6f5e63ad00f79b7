"""Selectors: how much each pseudo-label counts, a weight m in [0, 1] per unlabelled image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Selector(nn.Module):
    """Base: `forward` sees one step's predictions and returns their weights; what it remembers is in its buffers."""

    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        """probabilities: [N, K] of the weak view, without gradient. index: [N] as in Stream.index. Returns [N]."""
        raise NotImplementedError


class Fixed(Selector):
    """m_i = 1[max q_i >= threshold], the same threshold for every class and step (FixMatch, arXiv 2001.07685)."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        return (probabilities.amax(dim=1) >= self.threshold).to(probabilities.dtype)


class Everything(Selector):
    """m_i = 1: every pseudo-label counts."""

    def forward(self, probabilities: Tensor, index: Tensor) -> Tensor:
        return torch.ones_like(probabilities[:, 0])


def make_selector(name: str, threshold: float) -> Selector:
    """`name`: "fixed" or "none"."""
    return {"fixed": lambda: Fixed(threshold), "none": Everything}[name]()
