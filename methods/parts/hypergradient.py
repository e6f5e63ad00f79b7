"""Meta-gradient: the gradient of the meta loss after one virtual step to the meta-model's parameters.

theta' = U(theta, grad_theta L(z(theta); phi)), U the update of each parameter and d its slope -dU/dg (plain SGD: the
learning rate; virtual_updates.py has the others), and phi enters L through per-image functions of constants, so with
v = d grad_theta' M and z. = J_theta z v (docs/clid_mu.md, section 8.3; tested against double backward)

    dM/dphi = grad_phi S,  S(phi) = - < grad_z L(z; phi), z. >

    exact_reverse      double backward of M through the step                                  12 forwards a step
    exact_forward      z. by one forward-mode pass                                            11
    finite_difference  z. = [z(theta + e v) - z(theta - e v)] / 2e, e = 0.01 / |v|            10, error O(e^2)
    top_stage          exact_reverse for the last stage and the head, the rest held           4 to 7
    last_layer         exact for the head alone, in closed form, without a backward pass      4

(forwards of a training batch on convolutional networks, the plain step's 3 counted in; times: results/hypergradient.md)
All passes but the training forward leave the running statistics of batch normalisation alone.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from methods.parts.batch_norm import frozen_statistics
from methods.parts.precision import at_least_float32, full_precision
from methods.parts.virtual_updates import Update

Gradients = tuple[Tensor, ...]

RADIUS = 0.01  # length of a finite difference in parameter space (DARTS, arXiv 1806.09055)


def virtual_parameters(model: nn.Module, loss: Tensor, updates: Mapping[str, Update]) -> dict[str, Tensor]:
    """Parameters theta' after one step on `loss`, by name; those without an update or a gradient stay.

    Differentiable in what `loss` depends on. The graph of `loss` is kept: the real step can use it a second time.
    """
    moved = {name: p for name, p in model.named_parameters() if name in updates and p.requires_grad}
    gradients = torch.autograd.grad(loss, list(moved.values()), create_graph=True, allow_unused=True)
    pairs = zip(moved.items(), gradients, strict=True)
    return {name: p if gradient is None else _updated(updates[name], p, gradient) for (name, p), gradient in pairs}


def _updated(update: Update, p: Tensor, gradient: Tensor) -> Tensor:
    """The new value of a parameter, with the derivative to its gradient that the slope says."""
    constant = gradient.detach()
    value, slope = update(p, constant)
    return value - slope * (gradient - constant)


def virtual_forward(model: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of `x` at `parameters`, in the model's mode; BN updates cloned buffers, not the model's."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return functional_call(model, {**parameters, **buffers}, (x,), {"with_features": True})


@dataclass(frozen=True)
class VirtualStep:
    """One virtual step: its inputs, its losses and the parameters of the meta-model.

    x: [B, ...] the training images. logits, features: of `x` at the model's weights, in train mode; logits with their
    graph, features [B, D] constant. updates: as virtual_updates. train_loss: of logits [B, K]; depends on phi.
    meta_loss: of the model's parameters by name; those not named stay as they are. meta_features: features of the meta
    batch at the model's weights. head_loss: the meta loss of these features and of logits. phi: the meta-model's
    parameters. autocast: of the passes over `x`.
    """

    model: nn.Module
    x: Tensor
    logits: Tensor
    features: Tensor
    updates: Mapping[str, Update]
    train_loss: Callable[[Tensor], Tensor]
    meta_loss: Callable[[dict[str, Tensor]], Tensor]
    meta_features: Callable[[], Tensor]
    head_loss: Callable[[Tensor, Tensor], Tensor]
    phi: list[nn.Parameter]
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext

    def logit_gradient(self) -> Tensor:
        """Gradient grad_z L(z; phi), [B, K], differentiable in phi; it does not depend on the network."""
        logits = at_least_float32(self.logits.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(self.train_loss(logits), logits, create_graph=True)
        return gradient


def exact_reverse(step: VirtualStep) -> tuple[Tensor, Gradients]:
    """Double backward, of which only the part that leads to phi is computed (docs/clid_mu.md, section 8.3, scheme 1).

    The training forward and the meta loss have to be twice differentiable: no fused attention.
    """
    with sdpa_kernel(SDPBackend.MATH):
        virtual = virtual_parameters(step.model, step.train_loss(step.logits), step.updates)
        loss = step.meta_loss(virtual)
        return loss.detach(), torch.autograd.grad(loss, step.phi)


def exact_forward(step: VirtualStep) -> tuple[Tensor, Gradients]:
    """Forward-mode z.: exact, without a second derivative (docs/clid_mu.md, section 8.3, scheme 2).

    The network must give the same logits twice, so no dropout (see `repeats`).
    """
    loss, direction = _descent(step)
    _load_forward_mode()
    # Fused attention has no forward-mode derivative either. In full precision: under autocast torch (2.15) mixes the
    # types of values and tangents behind a batch normalisation, and fails.
    precision, attention = full_precision(step.x.device), sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), precision, frozen_statistics(step.model), attention:
        weights = dict(step.model.named_parameters())
        with forward_ad.dual_level():
            duals = {name: forward_ad.make_dual(weights[name].detach(), v) for name, v in direction.items()}
            tangent = forward_ad.unpack_dual(functional_call(step.model, duals, (step.x,))).tangent
    return loss, _against(step, torch.zeros_like(step.logits) if tangent is None else tangent)


@functools.cache
def _load_forward_mode() -> None:
    """Load torch's forward-mode formulas, which takes a fifth of a second at the first use, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        with forward_ad.dual_level():
            forward_ad.make_dual(torch.zeros(()), torch.zeros(()))


def finite_difference(step: VirtualStep) -> tuple[Tensor, Gradients]:
    """Central difference for z., of two passes without graph (docs/clid_mu.md, section 8.3, scheme 3). As
    exact_forward, without dropout."""
    loss, direction = _descent(step)
    length = torch.stack([v.square().sum() for v in direction.values()]).sum().sqrt()
    reach = RADIUS / torch.where(length == 0, torch.ones_like(length), length)
    with torch.no_grad(), step.autocast(), frozen_statistics(step.model):
        weights = dict(step.model.named_parameters())
        ends = [
            at_least_float32(
                functional_call(
                    step.model, {name: weights[name] + sign * reach * v for name, v in direction.items()}, (step.x,)
                )
            )
            for sign in (1, -1)
        ]
    return loss, _against(step, (ends[0] - ends[1]) / (2 * reach))


def top_stage(step: VirtualStep) -> tuple[Tensor, Gradients]:
    """exact_reverse of a step that moves only the last stage and the head (as FaMUS, arXiv 2104.15092): biased.

    (docs/clid_mu.md, section 8.3, scheme 5)
    """
    prefixes = tuple(f"{name}." for name in top_modules(step.model))
    with sdpa_kernel(SDPBackend.MATH):
        updates = {name: update for name, update in step.updates.items() if name.startswith(prefixes)}
        virtual = virtual_parameters(step.model, step.train_loss(step.logits), updates)
        held = {name: p.detach() for name, p in step.model.named_parameters() if name not in virtual}
        loss = step.meta_loss({**held, **virtual})
        return loss.detach(), torch.autograd.grad(loss, step.phi)


def last_layer(step: VirtualStep) -> tuple[Tensor, Gradients]:
    """Exact gradient of a step that moves the linear head only: one pass without graph, no backward.

    W' = U(W, G^T H), b' = U(b, sum G) with G = grad_z L(z; phi), z_meta = H_meta W'^T + b'. Biased, and about 2 to 7
    times smaller than the whole gradient: take a larger meta_lr. Raises ValueError without a linear head.
    (docs/clid_mu.md, section 8.3, scheme 6)
    """
    head = linear_head(step.model)
    with torch.no_grad():
        hidden = at_least_float32(step.meta_features())
    with full_precision(hidden.device):
        gradient = step.logit_gradient()
        moved = {"head.weight": gradient.T @ at_least_float32(step.features), "head.bias": gradient.sum(dim=0)}
        new = {
            name: _updated(step.updates[name], p, moved[name]) if name in step.updates else p
            for name, p in ((f"head.{name}", p) for name, p in head.named_parameters())
        }
        logits = F.linear(hidden, new["head.weight"], new.get("head.bias"))
        loss = step.head_loss(hidden, logits)
        return loss.detach(), torch.autograd.grad(loss, step.phi)


SCHEMES: dict[str, Callable[[VirtualStep], tuple[Tensor, Gradients]]] = {
    "exact_reverse": exact_reverse,
    "exact_forward": exact_forward,
    "finite_difference": finite_difference,
    "top_stage": top_stage,
    "last_layer": last_layer,
}
"""Each returns the meta loss and its gradient to phi."""


def cheapest_exact(model: nn.Module, device: torch.device) -> str:
    """Name of the faster of the two exact schemes, as measured (results/hypergradient.md): the scheme `auto`.

    On a CPU forward mode takes about 0.8 of the time of double backward on convolutional networks, and no less on
    Vision Transformers. On a GPU, which we have not measured, double backward: forward mode cannot use bf16 there.
    """
    layers = list(model.modules())
    convolutions, linear = (
        sum(layer.weight.numel() for layer in layers if isinstance(layer, kind)) for kind in (nn.Conv2d, nn.Linear)
    )
    convolutional = convolutions > linear
    return "exact_forward" if device.type == "cpu" and convolutional and repeats(model) else "exact_reverse"


def repeats(model: nn.Module) -> bool:
    """Whether two passes over the same images give the same logits in train mode: no dropout of any kind."""
    rates = [getattr(module, name, 0) for module in model.modules() for name in ("p", "drop_prob")]
    return not any(isinstance(rate, (int, float)) and rate > 0 for rate in rates)


def linear_head(model: nn.Module) -> nn.Linear:
    """The head of the model. Raises ValueError, naming the hyper-parameter, where it is not one linear layer."""
    head = getattr(model, "head", None)
    if not isinstance(head, nn.Linear):
        kind = type(head).__name__
        raise ValueError(
            f"hypergradient: last_layer needs a model whose head is nn.Linear, this one's is {kind}; allowed here: "
            + ", ".join(name for name in SCHEMES if name != "last_layer")
        )
    return head


def top_modules(model: nn.Module) -> tuple[str, ...]:
    """Names of the head, of the last stage that has weight matrices, and of what lies between.

    Stages are the model's own, or its children where it names none. A stage that is nearly all of the network (the
    blocks of a Vision Transformer) counts by its last part.
    """
    names = list(getattr(model, "stages", ())) or [name for name, _ in model.named_children() if name != "head"]
    total = _weights(model)
    for place in reversed(range(len(names))):
        name, stage = names[place], model.get_submodule(names[place])
        if not any(p.ndim > 1 for p in stage.parameters()):
            continue
        while isinstance(stage, nn.Sequential) and _weights(stage) > 0.9 * total:
            parts = [part for part, child in stage.named_children() if any(p.ndim > 1 for p in child.parameters())]
            name, stage = f"{name}.{parts[-1]}", stage.get_submodule(parts[-1])
        return (name, *names[place + 1 :], "head")
    return ("head",)


def _weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _descent(step: VirtualStep) -> tuple[Tensor, dict[str, Tensor]]:
    """The meta loss and v = d grad_theta' M, by first derivatives alone; the training graph is kept."""
    moved = {name: p for name, p in step.model.named_parameters() if name in step.updates and p.requires_grad}
    train_loss = step.train_loss(step.logits)
    gradients = torch.autograd.grad(train_loss, list(moved.values()), retain_graph=True, allow_unused=True)
    virtual, slopes = {}, {}
    for (name, p), gradient in zip(moved.items(), gradients, strict=True):
        value, slopes[name] = (p, 0.0) if gradient is None else step.updates[name](p.detach(), gradient)
        virtual[name] = value.detach().requires_grad_()
    loss = step.meta_loss(virtual)
    found = torch.autograd.grad(loss, list(virtual.values()), allow_unused=True)
    pairs = zip(virtual, found, strict=True)
    return loss.detach(), {name: slopes[name] * gradient for name, gradient in pairs if gradient is not None}


def _against(step: VirtualStep, tangent: Tensor) -> Gradients:
    """Gradient grad_phi S for z. = tangent."""
    with full_precision(tangent.device):
        s = -(step.logit_gradient() * at_least_float32(tangent)).sum()
        return torch.autograd.grad(s, step.phi)
