"""The classifier of a model: access, gated parameters, closed-form gradient, a learning rate of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from methods.parts.precision import at_least_float32, full_precision

Share = float | Tensor
"""How much of a gradient passes: a number, or a tensor that broadcasts against the parameter."""


def gated_head(
    head: nn.Module, features: Tensor, share: Share | Mapping[str, Share], at: nn.Module | None = None
) -> Tensor:
    """Logits [N, K] of `features` [N, D] whose gradient to the head's parameters is scaled by `share` (or by name).

    W_gate = sg(W) + share (W - sg(W)), b likewise: the value is W's, the gradient to the features is unchanged. share 0
    is LayerMatch's Grad-ReLU (hard block), share 1 the plain head. Works for any head, not only linear ones: its
    parameters are gated, not what it makes of them. at: a head of the same form whose values stand in for W and b.
    (docs/layermatch.md, sections 2.2 and 2.4, G1; `at` is reading A3 of section 3.2.)
    """
    live = dict(head.named_parameters())
    frozen = {name: parameter.detach() for name, parameter in (at or head).named_parameters()}
    shares = share if isinstance(share, Mapping) else dict.fromkeys(live, share)
    for name, part in shares.items():
        if not (isinstance(part, (int, float)) and part == 0):
            frozen[name] = frozen[name] + part * (live[name] - live[name].detach())
    return call_head(head, frozen, features)


def call_head(head: nn.Module, parameters: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Logits [N, K] of `features` [N, D] by the head with other parameters."""
    if type(head) is nn.Linear:  # a tenth of functional_call's time on the host
        return F.linear(features, parameters["weight"], parameters.get("bias"))
    return functional_call(head, dict(parameters), (features,))


def find_head(model: nn.Module, linear: str = "") -> nn.Module:
    """The classifier of a model. linear: the setting that needs an unchanged nn.Linear there, if one does.

    Raises ValueError where there is none.
    """
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Module) or not any(True for _ in head.parameters()):
        kind = type(model).__name__
        raise ValueError(f"model: {kind} has no classifier `head` with parameters, so that nothing can be gated there")
    if linear and type(head).forward is not nn.Linear.forward:
        raise ValueError(f"{linear} needs one linear layer as the model's head, not {type(head).__name__}")
    return head


@torch.no_grad()
def linear_gradient(features: Tensor, logits: Tensor, y: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
    """Gradients of (1/N) sum_i weight_i CE(z_i, y_i) to a linear head: weight [K, D] = R^T Phi, bias [K] = column sums
    of R, R = weight (softmax(Z) - Y) / N. (docs/layermatch.md, section 2.4, G6)"""
    with full_precision(features.device):
        one_hot = y[:, None] == torch.arange(logits.shape[1], device=y.device)  # F.one_hot would look at y's values
        residual = at_least_float32(logits).softmax(dim=1) - one_hot.to(torch.float32)
        if weight is not None:
            residual = residual * weight[:, None]
        residual = residual / len(y)
        return {"weight": residual.T @ at_least_float32(features), "bias": residual.sum(dim=0)}


@contextlib.contextmanager
def scaled_step(parameters: Iterable[nn.Parameter], factor: float) -> Iterator[None]:
    """G10: the optimiser's step inside moves `parameters` `factor` times as far: a learning rate of their own.

    Exactly so for SGD (momentum, Nesterov, weight decay) and AdamW: their state does not know the learning rate, and
    the move is proportional to it. Scaling the gradient would leave weight decay behind, and AdamW would undo it.
    """
    if factor == 1:
        yield
        return
    moved: list[Tensor] = list(parameters)
    before = [parameter.detach().clone() for parameter in moved]
    yield
    with torch.no_grad():
        torch._foreach_lerp_(before, moved, factor)
        torch._foreach_copy_(moved, before)
