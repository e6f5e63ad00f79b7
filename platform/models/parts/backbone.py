"""The contract of a backbone: features and the linear head on them, both accessible."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["Backbone"]


class Backbone(nn.Module):
    """A network in two parts: `features(x)` gives [N, D], `head` is the linear layer on them.

    Methods use both: class centres are points of feature space, Grad-ReLU acts on the head's gradient. `stages` are the
    names of its sub-modules in forward order, for layer-wise diagnostics.
    """

    head: nn.Linear
    stages: ClassVar[tuple[str, ...]] | tuple[str, ...] = ()

    @property
    def num_features(self) -> int:
        return self.head.in_features

    def features(self, x: Tensor) -> Tensor:
        """[N, C, H, W] normalised images -> [N, D], the input of the head."""
        raise NotImplementedError(f"{type(self).__name__} does not define features()")

    def forward(self, x: Tensor, with_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Logits [N, K], or (features, logits)."""
        features = self.features(x)
        logits = self.head(features)
        return (features, logits) if with_features else logits

    def modules_by_stage(self) -> dict[str, nn.Module]:
        """Sub-modules in forward order."""
        return {name: self.get_submodule(name) for name in self.stages}


@torch.no_grad()
def he_and_xavier(model: nn.Module) -> None:
    """Kaiming-normal (fan out) convolutions, BN at identity, Xavier-normal linear layers; every bias zero."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
            nn.init.zeros_(module.bias)
