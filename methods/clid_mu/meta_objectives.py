"""Meta objectives: losses on a meta batch after a virtual step.

    clid        sum_l a_l H(P, Q_l) / sum_l a_l over the layers l: the outputs' graph against each layer's; no labels
    ce          cross-entropy with the true labels: an oracle, to compare with
    ce_noisy    cross-entropy with the given labels
    mae         mean of 1 - softmax(z)_y with the given labels
    ce_sloss, mae_sloss     the same on images selected by small loss (small_loss.py)

The release has clid with the last hidden layer alone; more layers and their weights are our reading: a graph Q_l is a
constant to the gradient, so each pulls the outputs' graph towards that of its own layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.clid import clid
from methods.parts.precision import at_least_float32

Goal = Literal["clid", "ce", "ce_noisy", "mae", "ce_sloss", "mae_sloss"]
GOALS: tuple[Goal, ...] = get_args(Goal)
SMALL_LOSS = ("ce_sloss", "mae_sloss")


def layered_clid(
    hidden: Mapping[str, Tensor],
    weights: Mapping[str, float],
    logits: Tensor,
    temperature: float,
    normalizer_grad: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted mean of CLID over layers, and CLID of each; hidden: [N, D_l] by layer, labels unused."""
    each = {name: clid(hidden[name], logits, temperature, normalizer_grad) for name in weights}
    total = torch.stack([weight * each[name] for name, weight in weights.items()]).sum() / sum(weights.values())
    return total, {name: value.detach() for name, value in each.items()}


def label_loss(goal: Goal, logits: Tensor, y: Tensor) -> Tensor:
    """Mean loss of the goal over the images whose label is known (y >= 0); 0 where none is."""
    logits = at_least_float32(logits)
    known = (y >= 0).to(logits.dtype)
    y = y.clamp(min=0)
    if goal.startswith("mae"):
        each = 1 - logits.softmax(dim=1).gather(1, y[:, None])[:, 0]
    else:
        each = F.cross_entropy(logits, y, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)
