"""The device of a slot: decided where the trial trains, by the share of a GPU that it was given there."""

from __future__ import annotations

import socket

from platform.core.accelerator import available, kind
from platform.core.errors import Problem, UserError

__all__ = ["slot_device"]


def slot_device(gpu: float) -> str:
    """Name of the torch device that a slot with `gpu` GPUs trains on, on this machine.

    Raises UserError where a GPU was given and torch cannot use one: the trial must not train on the processor unseen.
    """
    if not gpu:
        return "cpu"
    if not available():
        hint = "is its driver old, or torch built without CUDA? python -m platform.doctor says; or resources.gpu=0"
        problem = f"{socket.gethostname()} gives out a GPU that torch cannot use"
        raise UserError(Problem(problem, key="resources.gpu", hint=hint))
    return kind()
