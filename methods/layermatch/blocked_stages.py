"""Blocking a loss from the weights of whole stages, while its gradient still passes through them.

In one forward over labelled and unlabelled images both losses share every layer. Here a layer's weights see a gradient
from the first rows only: y = [f(x_first; W), f(x_rest; sg W)]. For a layer whose rows are independent (convolution,
linear, layer normalisation) this costs no arithmetic. Batch normalisation keeps its statistics of all rows; only its
scale and shift are told apart. Without batch statistics the gradient is that of the first rows' loss alone; with them,
what the losses exchange through the statistics still reaches the weights (our reading). This is G8 of
docs/layermatch.md, section 2.5.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm


def last_stages(model: nn.Module, count: int) -> list[nn.Module]:
    """The layers with weights of the last `count` stages before the head.

    Raises ValueError, naming gate_stages, where the model does not name its stages, has fewer, or mixes rows in them.
    """
    by_stage = getattr(model, "modules_by_stage", dict)()
    if not by_stage:
        raise ValueError(f"gate_stages: {type(model).__name__} does not name its stages, so that none can be blocked")
    if count > len(by_stage):
        names = ", ".join(by_stage)
        raise ValueError(f"gate_stages: {count} is more than this model has; at most {len(by_stage)}: {names}")
    return [layer for stage in list(by_stage.values())[-count:] for layer in _layers(stage)]


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules that own weights themselves."""
    if not any(True for _ in module.parameters(recurse=False)):
        for child in module.children():
            yield from _layers(child)
        return
    if any(isinstance(inner, _BatchNorm) for inner in list(module.modules())[1:]):
        kind = type(module).__name__
        raise ValueError(f"gate_stages: {kind} has weights of its own around a batch normalisation; it cannot be split")
    yield module


@contextlib.contextmanager
def blocked_below(layers: list[nn.Module], rows: int) -> Iterator[None]:
    """Give the layers' weights gradients from the first `rows` rows of their inputs only, inside."""
    for layer in layers:
        plain = layer.forward
        split = _split_norm if isinstance(layer, _BatchNorm) else functools.partial(_split, plain)
        layer.forward = functools.partial(split, layer, rows)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


def _split(plain, layer: nn.Module, rows: int, x: Tensor) -> Tensor:
    frozen = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    own = layer.__dict__.pop("forward")  # functional_call calls the layer: with its own forward, not with this one
    try:
        rest = functional_call(layer, frozen, (x[rows:],))
    finally:
        layer.__dict__["forward"] = own
    return torch.cat([plain(x[:rows]), rest])


def _split_norm(layer: _BatchNorm, rows: int, x: Tensor) -> Tensor:
    weight, bias = layer.weight, layer.bias
    own = layer.__dict__.pop("forward")
    try:
        unit = functional_call(layer, {"weight": torch.ones_like(weight), "bias": torch.zeros_like(bias)}, (x,))
    finally:
        layer.__dict__["forward"] = own
    shape = (1, -1, *[1] * (x.ndim - 2))
    first = unit[:rows] * weight.view(shape) + bias.view(shape)
    rest = unit[rows:] * weight.detach().view(shape) + bias.detach().view(shape)
    return torch.cat([first, rest]).to(unit.dtype)
