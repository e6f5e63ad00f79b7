"""Methods that train a second network beside the model: its optimiser, its average, its state, and both as one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Batch, Method
from methods.parts.ema import ModelEMA


class TwoNetworks(Method):
    """`self.model` and `self.other`: the same architecture and optimiser, another random start.

    The platform evaluates `eval_model`: by default the averaged weights of the first network alone.
    """

    def build(self) -> None:
        weight = next(self.model.parameters())
        self.other = self.setup.make_model(1).to(weight.device, weight.dtype)
        self.other_ema = ModelEMA(self.other, self.hyper.model_ema)
        self.other_optimizer = self.setup.make_optimizer(self.other)

    def descend_both(self, loss: Tensor, other_loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """One step of each network on its own loss. The trial's schedule moves the first optimiser's learning rate;
        the second's is copied from it."""
        self.descend(loss, optimizer)
        for mine, trial in zip(self.other_optimizer.param_groups, optimizer.param_groups, strict=True):
            mine["lr"] = trial["lr"]
        self.other_optimizer.zero_grad(set_to_none=True)
        other_loss.backward()
        if self.setup.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.other.parameters(), self.setup.grad_clip)
        self.other_optimizer.step()

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.other_ema.update(self.other)

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "other_optimizer": self.other_optimizer.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.other_optimizer.load_state_dict(state["other_optimizer"])


class Both(nn.Module):
    """Two networks as one: features [N, 2 D] side by side, logits the mean of the two."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.head = MeanHead(first.get_submodule("head"), second.get_submodule("head"))

    def features(self, x: Tensor) -> Tensor:
        return torch.cat([self.first.features(x), self.second.features(x)], dim=1)  # type: ignore[operator]

    def forward(self, x: Tensor, with_features: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        features = self.features(x)
        logits = self.head(features)
        return (features, logits) if with_features else logits


class MeanHead(nn.Module):
    """(h_1(first half) + h_2(second half)) / 2: a linear layer where both are, with its weight and bias."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    @property
    def weight(self) -> Tensor:
        """[K, 2 D]"""
        return torch.cat([self.first.get_parameter("weight"), self.second.get_parameter("weight")], dim=1) / 2

    @property
    def bias(self) -> Tensor:
        """[K]"""
        return (self.first.get_parameter("bias") + self.second.get_parameter("bias")) / 2

    def forward(self, features: Tensor) -> Tensor:
        mine, other = features.chunk(2, dim=1)
        return (self.first(mine) + self.second(other)) / 2
