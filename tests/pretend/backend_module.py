"""What torch.cuda is for a GPU, for the pretended device: torch.pretend."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.pretend import generators, watch

__all__ = ["BackendModule"]


class Event:
    """A point in the work of the device, which is always done."""

    def record(self) -> None: ...

    def query(self) -> bool:
        return True


class BackendModule:
    """The functions that torch, and platform/core/accelerator.py, look up by the kind of device."""

    Event = Event

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        generators.default().manual_seed(seed)

    def device_count(self) -> int:
        return 1

    def synchronize(self, device: Any = None) -> None: ...

    def get_rng_state(self, device: Any = None) -> Tensor:
        return generators.default().get_state()

    def set_rng_state(self, state: Tensor, device: Any = None) -> None:
        generators.default().set_state(state)

    def get_device_name(self, device: Any = None) -> str:
        return "a pretended device"

    def get_sync_debug_mode(self) -> str:
        return watch.mode

    def set_sync_debug_mode(self, mode: str) -> None:
        watch.mode = mode

    def memory_allocated(self) -> int:
        return 0

    def empty_cache(self) -> None: ...

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]
