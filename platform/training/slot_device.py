"""The device of a slot: decided where the trial trains, by the share of a GPU that it was given there."""

from __future__ import annotations

import os
import socket

from platform.core.errors import Problem, UserError

__all__ = ["PRETENDED", "slot_device", "usable"]

PRETENDED = "KURABE_GPU_DEVICE"
"""Environment variable with the torch device that stands for a GPU. For tests on machines that have none: Ray gives out
the GPUs that a node declares, and what trains on them is this device."""


def slot_device(gpu: float) -> str:
    """Name of the torch device that a slot with `gpu` GPUs trains on, on this machine.

    Raises UserError where a GPU was given and torch cannot use one: the trial must not train on the processor unseen.
    """
    if not gpu:
        return "cpu"
    if not usable():
        hint = "is its driver old, or torch built without CUDA? python -m platform.doctor says; or resources.gpu=0"
        problem = f"{socket.gethostname()} gives out a GPU that torch cannot use"
        raise UserError(Problem(problem, key="resources.gpu", hint=hint))
    return os.environ.get(PRETENDED) or "cuda"


def usable() -> bool:
    """Whether torch can train on a GPU of this machine."""
    import torch

    return bool(os.environ.get(PRETENDED)) or torch.cuda.is_available()
