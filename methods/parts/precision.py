"""Full precision inside a mixed-precision step: softmax, averages and similarity measures are computed in float32."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32 where it is bf16 or fp16; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Switch autocast off inside."""
    return torch.autocast(device.type, enabled=False)
