"""Batch normalisation of passes that must not touch the running statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextlib.contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Train-mode forwards inside use batch statistics and leave the running ones alone (spec 7.0, "BN frozen")."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextlib.contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """BN layers of a model in eval mode use batch statistics inside, and leave the running ones alone: a teacher then
    sees its batch as its student does."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.train()
    try:
        with frozen_statistics(model):
            yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.train(mode)
