"""What a step may not do on an accelerator, looked for on the pretended one: wait for the device, or copy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from platform.conformance.no_sync import INDEXING, WAITING

__all__ = ["HiddenCopy", "Waits", "line", "look", "look_at_copy", "mode"]

ROOT = Path(__file__).parents[2]
_DEVICE = {"backend.py", "backend_module.py", "generators.py", "watch.py"}  # of this folder: the device itself
mode = "default"  # "error": nothing may wait, in whatever thread; as of torch.cuda.set_sync_debug_mode


class Waits(RuntimeError):
    """A step waits for the device."""


class HiddenCopy(RuntimeError):
    """A step copies between host and device."""


def look(operation: Any, args: tuple[Any, ...]) -> None:
    """Raise Waits where the result of an operation, or its shape, depends on values."""
    if mode != "error":
        return
    if operation in WAITING:
        raise Waits(f"{line()}{operation} waits for the device")
    if operation in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1]):
        raise Waits(f"{line()}{operation} with a boolean index waits for the device: its shape depends on values")


def look_at_copy(to_host: bool, non_blocking: bool) -> None:
    """Raise HiddenCopy where a step copies and waits until it is done."""
    if mode == "error" and not non_blocking:
        raise HiddenCopy(f"{line()}copies {'to' if to_host else 'from'} the host")


def line() -> str:
    """The innermost line of the project that is being run, as FILE:LINE: ; nothing in a thread of autograd's own."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        device = path.parent == Path(__file__).parent and path.name in _DEVICE
        looks_on = frame.f_code.co_name == "__torch_function__"
        if path.is_relative_to(ROOT) and not device and not looks_on:
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}: "
        frame = frame.f_back
    return ""
