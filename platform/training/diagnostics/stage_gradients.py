"""Gradients of the labelled and the unlabelled loss at each stage of a network, on fixed probe images.

L_s = CE(weak views, given labels), L_u = CE(strong views, argmax of the weak views): all guesses count, whatever the
method selects and gates, so that the numbers of different methods and moments compare. The oracle has the true labels
in the guesses' place. (docs/layermatch.md, section 8, item 5; the choice of L_u is ours.)
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.batch_norm import frozen_statistics
from platform.training.preserved_state import preserve_state

__all__ = ["stage_gradients", "stages"]

NORMALISATION = (nn.modules.batchnorm._BatchNorm,)


def stages(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Trainable parameters by stage, in forward order: the model's `stages` (a transformer's blocks one by one), all
    batch normalisation as one, and the head. The layers of batch normalisation also count in their stage."""
    groups: dict[str, list[nn.Parameter]] = {}
    for name in getattr(model, "stages", ()):
        module = model.get_submodule(name)
        label = name.removeprefix("body.")
        if label == "blocks" and isinstance(module, nn.Sequential):
            for number, block in enumerate(module):
                groups[f"block{number}"] = _trainable(block)
        else:
            groups[label] = _trainable(module)
    norms = [module for module in model.modules() if isinstance(module, NORMALISATION)]
    groups["batch_norm"] = [p for module in norms for p in _trainable(module)]
    groups["head"] = _trainable(model.get_submodule("head"))
    return {name: parameters for name, parameters in groups.items() if parameters}


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def stage_gradients(
    model: nn.Module,
    labelled: tuple[Tensor, Tensor],
    unlabelled: tuple[Tensor, Tensor, Tensor],
    autocast: contextlib.AbstractContextManager[Any],
) -> dict[str, Tensor]:
    """Diagnostics by name as in names.py, scalars on the device.

    labelled: (weak views, given labels). unlabelled: (weak views, strong views, true labels, -1 = unknown). In training
    mode, with batch statistics; running statistics, gradients and random states stay as they are.
    """
    weak, strong, true = unlabelled
    groups = stages(model)
    parameters = [p for group in groups.values() for p in group]
    with preserve_state(model, next(model.parameters()).device, training=True), frozen_statistics(model), autocast:
        with torch.no_grad():
            guess = model(weak).argmax(dim=1)
        losses = [F.cross_entropy(model(labelled[0]).float(), labelled[1])]
        logits = model(strong).float()
        losses += [F.cross_entropy(logits, guess), _known_cross_entropy(logits, true)]
    gradients = [_by_stage(loss, parameters, groups, retain=index == 1) for index, loss in enumerate(losses)]
    values: dict[str, Tensor] = {}
    for name, (own, other, oracle) in zip(groups, zip(*gradients, strict=True), strict=True):
        values[f"stage_gradient_labelled/{name}"] = own.norm()
        values[f"stage_gradient_unlabelled/{name}"] = other.norm()
        values[f"stage_gradient_cosine/{name}"] = _cosine(own, other)
        values[f"stage_gradient_oracle/{name}"] = _cosine(other, oracle)
    return values


def _known_cross_entropy(logits: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy over the images whose label is known; NaN where none is."""
    return F.cross_entropy(logits, true, ignore_index=-1)


def _by_stage(
    loss: Tensor, parameters: list[nn.Parameter], groups: dict[str, list[nn.Parameter]], retain: bool
) -> list[Tensor]:
    """The gradient of the loss as one vector per stage."""
    gradients = torch.autograd.grad(loss, parameters, retain_graph=retain, allow_unused=True, materialize_grads=True)
    flat = iter([gradient.float().flatten() for gradient in gradients])
    return [torch.cat([next(flat) for _ in group]) for group in groups.values()]


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarity; NaN where one of the vectors is 0 or not known."""
    return (a @ b) / (a.norm() * b.norm())
