"""Mixed precision on the pretended device: what torch.autocast computes in bf16 there, and what in float32.

The lists of CUDA, of operations that methods and models use (torch's documentation, "Autocast Op Reference").
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["cast"]

_KEY = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)
_LOWER = {"convolution", "_convolution", "conv1d", "conv2d", "linear", "matmul", "mm", "addmm", "bmm", "baddbmm", "mv"}
_LOWER |= {"scaled_dot_product_attention", "einsum"}
_FULL = {
    "softmax",
    "log_softmax",
    "nll_loss",
    "nll_loss_nd",
    "cross_entropy_loss",
    "mse_loss",
    "kl_div",
    "smooth_l1_loss",
}
_FULL |= {"exp", "log", "log1p", "pow", "reciprocal", "rsqrt", "norm", "cosine_similarity", "cdist", "sum", "cumsum"}
_FULL |= {"prod", "layer_norm", "group_norm", "erfinv", "expm1", "softplus", "logsumexp"}


def cast(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation under autocast: on floating-point tensors of the type that it is computed in."""
    name = operation._schema.name.split("::")[1]
    dtype = torch.bfloat16 if name in _LOWER else torch.float32 if name in _FULL else None

    def inside(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(inside(item) for item in value)
        whether = isinstance(value, Tensor) and value.dtype in (torch.float32, torch.bfloat16, torch.float16)
        return value.to(dtype) if whether else value

    with torch._C._ExcludeDispatchKeyGuard(_KEY):
        return operation(*(map(inside, args) if dtype else args), **kwargs)
