"""Full precision inside a mixed-precision step: softmax, averages and similarity measures are computed in float32."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """bf16 and fp16 become float32; float32 and float64 stay."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Switches autocast off for a block."""
    return torch.autocast(device.type, enabled=False)
