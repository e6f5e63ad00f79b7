"""What a trial asks of an accelerator, a device that is not the CPU, in one place: no other branch asks for "cuda".

torch has the functions of each kind of device in a module of the device's name (torch.cuda, torch.xpu).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = [
    "PRETENDED",
    "allocated",
    "available",
    "background_copy",
    "count",
    "fused",
    "is_accelerator",
    "kind",
    "name",
    "prepare",
    "release",
    "rng_states",
    "set_rng_states",
    "synchronize",
    "waiting_raises",
]

PRETENDED = "KURABE_GPU_DEVICE"
"""Environment variable with the torch device that stands for a GPU. For tests on machines that have none: Ray gives out
the GPUs that a node declares, and what trains on them is this device."""


def kind() -> str:
    """Name of the torch device that a GPU is."""
    return os.environ.get(PRETENDED) or "cuda"


def available() -> bool:
    """Whether torch can train on a GPU of this machine."""
    import torch

    return bool(os.environ.get(PRETENDED)) or torch.cuda.is_available()


def count() -> int:
    """Number of GPUs of this machine that torch knows of."""
    import torch

    return torch.cuda.device_count()


def is_accelerator(device: torch.device) -> bool:
    """Whether a device computes beside the CPU, with a memory and random states of its own."""
    return device.type != "cpu"


def name(device: torch.device) -> str:
    """The name of an accelerator's model."""
    return _module(device).get_device_name(device)


def prepare(device: torch.device) -> None:
    """Settings of this process for training on a device."""
    import torch

    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in float32


def rng_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of the global generators that a trial on a device draws from: the CPU's and the device's, by kind."""
    import torch

    states = {"cpu": torch.get_rng_state()}
    return states | ({device.type: _module(device).get_rng_state(device)} if is_accelerator(device) else {})


def set_rng_states(device: torch.device, states: dict[str, torch.Tensor]) -> None:
    """Restore what `rng_states` returned; on the CPU, the states may be of a trial on another device."""
    import torch

    torch.set_rng_state(states["cpu"])
    if is_accelerator(device):
        _module(device).set_rng_state(states[device.type], device)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was asked of it."""
    if is_accelerator(device):
        _module(device).synchronize(device)


def background_copy(value: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Begin to copy a tensor of an accelerator to the host: the copy, and an event whose query() says that it is
    there."""
    import torch

    module = _module(value.device)
    pinned = value.device.type == "cuda"  # else the copy would wait
    copy = torch.empty(value.shape, dtype=value.dtype, pin_memory=pinned).copy_(value, non_blocking=True)
    event = module.Event()
    event.record()
    return copy, event


def allocated() -> int:
    """Bytes of the accelerator's memory that tensors of this process take."""
    module = _in_use()
    return module.memory_allocated() if module else 0


def release() -> None:
    """Give memory that nothing uses any more back to the accelerator."""
    if module := _in_use():
        module.empty_cache()


def fused(device: torch.device) -> bool:
    """Whether torch's optimisers have one kernel for all tensors on a device."""
    return device.type in ("cpu", kind())


@contextlib.contextmanager
def waiting_raises(device: torch.device) -> Iterator[None]:
    """In here an operation that waits for the accelerator raises RuntimeError."""
    module = _module(device)
    mode = module.get_sync_debug_mode()
    module.set_sync_debug_mode("error")
    try:
        yield
    finally:
        module.set_sync_debug_mode(mode)


def _in_use() -> Any:
    """torch's module of this machine's accelerator, where this process has used it."""
    import torch

    module = getattr(torch, kind(), None) if kind() != "cpu" else None
    return module if module and module.is_initialized() else None


def _module(device: torch.device) -> Any:
    import torch

    return torch.get_device_module(device)
