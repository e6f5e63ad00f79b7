"""Two networks that are evaluated as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NetworkPair(nn.Module):
    """Two networks as one: features [N, 2 D] side by side, logits the mean of the two."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.head = PairHead(first.get_submodule("head"), second.get_submodule("head"))

    def features(self, x: Tensor) -> Tensor:
        return torch.cat([self.first.features(x), self.second.features(x)], dim=1)  # type: ignore[operator]

    def forward(self, x: Tensor, with_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        features = self.features(x)
        logits = self.head(features)
        return (features, logits) if with_features else logits


class PairHead(nn.Module):
    """Mean head (h_1(first half) + h_2(second half)) / 2: a linear layer where both are, with its weight and bias."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    @property
    def weight(self) -> Tensor:
        """Weight [K, 2 D] of the mean."""
        return torch.cat([self.first.get_parameter("weight"), self.second.get_parameter("weight")], dim=1) / 2

    @property
    def bias(self) -> Tensor:
        """Bias [K] of the mean."""
        return (self.first.get_parameter("bias") + self.second.get_parameter("bias")) / 2

    def forward(self, features: Tensor) -> Tensor:
        first, second = features.chunk(2, dim=1)
        return (self.first(first) + self.second(second)) / 2
