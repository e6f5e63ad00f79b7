"""The meta-gradient: how the meta loss after one virtual SGD step depends on what weighted that step's losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call


def learning_rates(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
    """The optimiser's current learning rate of each parameter it moves, by the parameter's name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer.param_groups
    return {names[id(p)]: group["lr"] for group in groups for p in group["params"] if id(p) in names}


def virtual_parameters(model: nn.Module, loss: Tensor, rates: Mapping[str, float | Tensor]) -> dict[str, Tensor]:
    """theta' = theta - lr grad_theta loss: plain SGD, without momentum or decay, by name.

    Differentiable in what `loss` depends on. The graph of `loss` is kept: the real step can use it a second time.
    """
    moved = {name: p for name, p in model.named_parameters() if name in rates and p.requires_grad}
    gradients = torch.autograd.grad(loss, list(moved.values()), create_graph=True, allow_unused=True)
    pairs = zip(moved.items(), gradients, strict=True)
    return {name: p if gradient is None else p - rates[name] * gradient for (name, p), gradient in pairs}


def virtual_forward(model: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of `x` at `parameters`, in the model's mode; BN updates cloned buffers, not the model's."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return functional_call(model, {**parameters, **buffers}, (x,), {"with_features": True})


def exact_reverse(
    model: nn.Module,
    train_loss: Tensor,
    rates: Mapping[str, float | Tensor],
    meta_loss: Callable[[dict[str, Tensor]], Tensor],
    phi: list[nn.Parameter],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Meta loss and its exact gradient to `phi` through one virtual step, by double backward.

    train_loss: scalar that depends on phi. meta_loss: of the virtual parameters. Only the part of the double backward
    that leads to phi is computed (CLID-MU spec 8.3, scheme 1; with a shared training forward 12.1 forwards a step).
    """
    loss = meta_loss(virtual_parameters(model, train_loss, rates))
    return loss.detach(), torch.autograd.grad(loss, phi)
