"""Running a model without changing the modes of its modules or the random states."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from platform.core.accelerator import is_accelerator

__all__ = ["preserve_state"]


@contextlib.contextmanager
def preserve_state(model: nn.Module, device: torch.device, training: bool = False) -> Iterator[None]:
    """Set the model to eval (or training) mode; restore the modes of its modules and the random states at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        with torch.random.fork_rng([device] if is_accelerator(device) else [], device_type=device.type):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
