"""Exponential moving average of a model's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class ModelEMA(nn.Module):
    """Average theta_bar <- d theta_bar + (1 - d) theta after each step; BN buffers are copied (as in USB).

    d = min(decay, (1 + t) / (10 + t)): the usual warm-up, so that a short run is not an average of its random start
    (t counts updates). decay 0 keeps the copy equal to the model. `module` is in eval mode and needs no gradient.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self._updates = 0  # host copy: reading the buffer would wait for the device

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self._updates += 1
        self.updates += 1
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(list(self.module.parameters()), list(model.parameters()), 1 - decay)
        for averaged, live in zip(self.module.buffers(), model.buffers(), strict=True):
            averaged.copy_(live)

    def train(self, mode: bool = True) -> ModelEMA:
        """Keep the averaged model in eval mode, also in `method.train()`: it is only evaluated."""
        super().train(mode)
        self.module.eval()
        return self

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._updates = int(self.updates)
