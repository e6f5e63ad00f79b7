"""Meta-models: small networks that say how much a training image counts."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn


class WNet(nn.Module):
    """V_phi: per-sample loss [N] -> (0, 1) [N]; Linear(1, 100), ReLU, Linear(100, 1), sigmoid (MW-Net, 1902.07379).

    PyTorch's default initialisation, drawn from `seed` and not from the global generator.
    """

    def __init__(self, seed: int, hidden: int = 100) -> None:
        super().__init__()
        self.first = cast(nn.Linear, nn.utils.skip_init(nn.Linear, 1, hidden))
        self.last = cast(nn.Linear, nn.utils.skip_init(nn.Linear, hidden, 1))
        generator = torch.Generator().manual_seed(seed)
        for layer, inputs in ((self.first, 1), (self.last, hidden)):
            bound = 1 / math.sqrt(inputs)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, losses: Tensor) -> Tensor:
        losses = losses.to(self.first.weight.dtype)
        return self.last(self.first(losses[:, None]).relu()).sigmoid()[:, 0]


def sum_normalised(scores: Tensor) -> Tensor:
    """w_i = s_i / sum_k s_k, with the gradient through the sum; w = s where the sum is 0 (CLID-MU spec 2.2)."""
    total = scores.sum()
    return scores / torch.where(total == 0, torch.ones_like(total), total)
