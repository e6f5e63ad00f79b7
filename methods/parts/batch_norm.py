"""Batch normalisation in passes that must not move the running statistics."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextlib.contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Make train-mode forwards inside use batch statistics and not move the running ones (docs/semi_supervised.md,
    section 7.0)."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode inside, and back into the mode that it was in."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextlib.contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Make BN layers of a model in eval mode use batch statistics inside, without moving the running ones: a teacher is
    then normalised as its student is."""
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
