"""Detects operations that make a step wait for the device: their result, or its shape, depends on values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.is_nonzero.default,
    aten.equal.default,
    aten.repeat_interleave.Tensor,
    aten._unique2.default,
}
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class HostSync(AssertionError):
    """A step waited for the device."""


class NoHostSync(TorchDispatchMode):
    """Raises HostSync at .item(), nonzero, masked_select, unique, and indexing with booleans, backward included.

    Works on a CPU, where nothing waits: it looks at what is asked for, not at how long it takes.
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in WAITING:
            raise HostSync(f"{func}: the step waits for the device")
        if func in INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1]):
            raise HostSync(f"{func} with a boolean index: its shape depends on values")
        return func(*args, **(kwargs or {}))
