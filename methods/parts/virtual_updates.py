"""Update of each parameter in the virtual step: plain SGD, or the update that the trial's optimiser would make.

An update maps a parameter p and its gradient g to the new value p' and to the slope d = -dp'/dg, both elementwise and
in closed form, so that p' - d (g - sg g) has the value and the first derivative of the optimiser's own step.
(docs/clid_mu.md, section 2.5)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

Slope = float | Tensor


class Update(Protocol):
    """New value of a parameter, and the slope: minus the derivative of the new value to the gradient."""

    def __call__(self, p: Tensor, g: Tensor) -> tuple[Tensor, Slope]: ...


@dataclass(frozen=True)
class PlainSGD:
    """p' = p - rate g."""

    rate: Slope

    def __call__(self, p: Tensor, g: Tensor) -> tuple[Tensor, Slope]:
        return p - self.rate * g, self.rate


@dataclass(frozen=True)
class MomentumSGD:
    """p' = p - rate (h + momentum v) with Nesterov, p - rate v without; h = g + decay p, v = momentum buffer + h.

    buffer: the optimiser's velocity before the step; None before its first one, when v = h.
    """

    rate: Slope
    momentum: float
    nesterov: bool
    decay: float
    buffer: Tensor | None

    def __call__(self, p: Tensor, g: Tensor) -> tuple[Tensor, Slope]:
        h = g + self.decay * p
        v = h if self.buffer is None else self.momentum * self.buffer + h
        if self.nesterov:
            return p - self.rate * (h + self.momentum * v), self.rate * (1 + self.momentum)
        return p - self.rate * v, self.rate


@dataclass(frozen=True)
class Adam:
    """p' = p - rate m_hat / (sqrt(v_hat) + eps) with decay p added to g; decoupled: from p (1 - rate decay) instead.

    mean, square: the optimiser's moments before the step, steps: those made before; None and 0 before its first one.
    Where v_hat is 0 its square root counts as a constant.
    """

    rate: Slope
    betas: tuple[float, float]
    eps: float
    decay: float
    decoupled: bool
    mean: Tensor | None
    square: Tensor | None
    steps: Tensor | int

    def __call__(self, p: Tensor, g: Tensor) -> tuple[Tensor, Slope]:
        first, second = self.betas
        if self.decoupled:
            p = p * (1 - self.rate * self.decay)
        else:
            g = g + self.decay * p
        mean = (1 - first) * g + (0 if self.mean is None else first * self.mean)
        square = (1 - second) * g**2 + (0 if self.square is None else second * self.square)
        step = 1 + (self.steps.double() if isinstance(self.steps, Tensor) else self.steps)  # torch counts in float32
        correction = 1 - second**step
        root = (square / correction).sqrt()
        rate = self.rate / (1 - first**step)
        tiny = torch.finfo(root.dtype).tiny
        d_root = torch.where(root > 0, (1 - second) * g / (correction * root.clamp(min=tiny)), 0)
        slope = rate * ((1 - first) / (root + self.eps) - mean * d_root / (root + self.eps) ** 2)
        return p - rate * mean / (root + self.eps), slope


@dataclass(frozen=True)
class Scaled:
    """p' = p + factor (q - p), q the new value of another update: a learning rate of its own (scaled_step's form)."""

    update: Update
    factor: float

    def __call__(self, p: Tensor, g: Tensor) -> tuple[Tensor, Slope]:
        new, slope = self.update(p, g)
        return p + self.factor * (new - p), self.factor * slope


def virtual_updates(
    model: nn.Module, optimizer: torch.optim.Optimizer, copies: bool, factors: Mapping[str, float] | None = None
) -> dict[str, Update]:
    """Update of each parameter of the model that the optimiser moves, by name.

    copies: as the optimiser itself would make it in its present state, gradients not clipped; else plain SGD at its
    current rate. factors: of the move, by name (Method.step_factors). Raises TypeError where an optimiser of another
    kind than SGD, Adam and AdamW is to be copied.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, Update] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if (name := names.get(id(parameter))) is None:
                continue
            update = _copy(optimizer, group, parameter) if copies else PlainSGD(group["lr"])
            factor = (factors or {}).get(name, 1.0)
            found[name] = update if factor == 1 else Scaled(update, factor)
    return found


def _copy(optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: Tensor) -> Update:
    state = optimizer.state.get(parameter, {})
    if isinstance(optimizer, torch.optim.SGD):
        momentum, buffer = group["momentum"], state.get("momentum_buffer")
        return MomentumSGD(group["lr"], momentum, group["nesterov"], group["weight_decay"], buffer)
    if isinstance(optimizer, torch.optim.Adam):  # AdamW is a subclass
        decoupled = group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW))
        moments, steps = (state.get("exp_avg"), state.get("exp_avg_sq")), state.get("step", 0)
        return Adam(group["lr"], group["betas"], group["eps"], group["weight_decay"], decoupled, *moments, steps)
    kind = type(optimizer).__name__
    raise TypeError(f"virtual_step: {kind} cannot be copied, only SGD, Adam and AdamW; allowed: plain")
