"""A second network that a method trains beside its model, with its optimiser, its average and its state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from methods.parts.ema import ModelEMA
from methods.types import Setup


class SecondNetwork(nn.Module):
    """Second network `model` of the first one's architecture, from another random start, its average and optimiser.

    The platform evaluates the method's `eval_model`, by default the averaged weights of the first network alone.
    """

    def __init__(self, first: nn.Module, setup: Setup, model_ema: float) -> None:
        super().__init__()
        weight = next(first.parameters())
        self.model = setup.make_model(1).to(weight.device, weight.dtype)
        self.ema = ModelEMA(self.model, model_ema)
        self.optimizer = setup.make_optimizer(self.model)

    def descend(self, loss: Tensor, trial: torch.optim.Optimizer, grad_clip: float | None) -> None:
        """Make one step on `loss`, at the current learning rate and weight decay of the trial's optimiser.

        The schedule moves its rate, population-based training sets both anew where a trial goes on from another one.
        """
        for group, current in zip(self.optimizer.param_groups, trial.param_groups, strict=True):
            group["lr"], group["weight_decay"] = current["lr"], current["weight_decay"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if grad_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), grad_clip)
        self.optimizer.step()

    def update_average(self) -> None:
        """Move the average towards the weights; once after each step."""
        self.ema.update(self.model)

    def get_extra_state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
