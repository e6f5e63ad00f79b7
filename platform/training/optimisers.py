"""The trial's optimiser: SGD with momentum, AdamW or Adam; by default biases and normalisation do not decay."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

import platform.core.accelerator as accelerator
from platform.core.spec import TrainSettings

__all__ = ["decay_groups", "make_optimizer"]


def decay_groups(
    parameters: Iterable[nn.Parameter], weight_decay: float, exempt: Iterable[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Two groups (one where the other is empty): decayed, and not. Vectors and scalars are biases or normalisation."""
    exempt_ids = {id(parameter) for parameter in exempt}
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in parameters:
        if parameter.requires_grad:
            groups[parameter.ndim > 1 and id(parameter) not in exempt_ids].append(parameter)
    return [
        {"params": chosen, "weight_decay": weight_decay if decayed else 0.0}
        for decayed, chosen in groups.items()
        if chosen
    ]


def make_optimizer(
    model: nn.Module, train: TrainSettings, parameters: Iterable[nn.Parameter] | None = None
) -> torch.optim.Optimizer:
    """An optimiser of `parameters` (all of the model's by default) at the peak learning rate.

    A model may exempt parameters from decay by name: `no_weight_decay()` (timm's token and position embeddings).
    """
    names = set[str](getattr(model, "no_weight_decay", set)())
    exempt = [parameter for name, parameter in model.named_parameters() if name in names]
    chosen = list(model.parameters() if parameters is None else parameters)
    if train.decayed == "all":
        moved = [parameter for parameter in chosen if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": moved, "weight_decay": train.weight_decay}]
    else:
        groups = decay_groups(chosen, train.weight_decay, exempt)
    # One kernel for all tensors; the loop over tensors costs more than the arithmetic of a small model.
    fused = all(accelerator.fused(p.device) and p.is_floating_point() for p in chosen)
    if train.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=train.lr, fused=fused)
    if train.optimizer == "adam":
        return torch.optim.Adam(groups, lr=train.lr, fused=fused)
    nesterov = train.nesterov and train.momentum > 0
    return torch.optim.SGD(groups, lr=train.lr, momentum=train.momentum, nesterov=nesterov, fused=fused)
