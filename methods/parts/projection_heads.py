"""Heads on a network's features beside its classifier, for embeddings that are compared with each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from methods.types import Setup

Heads = TypeVar("Heads", bound=nn.Module)


def projection_heads(model: nn.Module, setup: Setup, make: Callable[[int], Heads]) -> Heads:
    """`make(width)` for features of `width` numbers, drawn by the trial's seed, on the classifier's device in its type.

    Raises ValueError, naming the model, where its `head` has no weight of [classes, features].
    """
    weight = getattr(model.get_submodule("head"), "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.ndim != 2:
        kind = type(model.get_submodule("head")).__name__
        raise ValueError(
            f"model: its head, {kind}, has no weight of [classes, features]: the features' length is unknown"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.seed)
        heads = make(weight.shape[1])
    return heads.to(weight.device, weight.dtype)
