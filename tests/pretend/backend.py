"""A device called "pretend": PyTorch's private-use backend, each operation of which is computed on the CPU.

To torch a tensor on it is none of the CPU's, as one of a GPU: operations on tensors of both are refused, and its values
are seen only by a copy. The data lie in a CPU storage, which the storage of a pretended tensor carries along; so views,
in-place operations and what C++ allocates share their data as on any other device.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from tests.pretend import autocast, backend_module, generators, watch

__all__ = ["DEVICE", "NAME", "WrongDevice", "register"]

NAME = "pretend"
DEVICE = f"{NAME}:0"
_META = torch._C.DispatchKeySet(torch._C.DispatchKey.Meta)
_NUMBERS = (int, float, bool)
_libraries: list[torch.library.Library] = []  # what they register goes with them


class WrongDevice(RuntimeError):
    """An operation on tensors of two devices."""


def register() -> None:
    """Make the device known to torch, once for the life of this process."""
    if _libraries:
        return
    _setup_privateuseone_for_python_backend(NAME, backend_module.BackendModule())
    every, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    _libraries.extend((every, aten))
    every.fallback(_fallback, "PrivateUse1")
    every.fallback(autocast.cast, "AutocastPrivateUse1")
    # Those that torch's own, general kernels would take to a backend in C++.
    for name, computed in _INSTEAD.items():
        aten.impl(name, computed, "PrivateUse1")
    torch.Generator = generators.Generator  # type: ignore[misc]
    Tensor.__deepcopy__, Tensor.__reduce_ex__ = _deepcopy, _reduce  # type: ignore[method-assign]
    Tensor.data_ptr = _address  # type: ignore[method-assign]
    torch.serialization.register_package(5, lambda storage: None, _deserialised)


# -- tensors -----------------------------------------------------------------------------------------------------------


def there(tensor: Tensor) -> bool:
    """Whether a tensor is on the pretended device."""
    return tensor.device.type == NAME


def data(tensor: Tensor) -> Tensor:
    """The CPU tensor with the data of a pretended tensor: a view, not a copy."""
    whole = tensor.untyped_storage()._data  # type: ignore[attr-defined]
    if whole.dtype == tensor.dtype:
        return torch.as_strided(whole, tensor.shape, tensor.stride(), tensor.storage_offset())
    storage = whole.untyped_storage()
    return torch.empty(0, dtype=tensor.dtype).set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


def pretended(values: Tensor) -> Tensor:
    """A pretended tensor with the data of a CPU tensor: a view, not a copy."""
    tensor = torch._C._acc.create_empty_tensor(list(values.shape), values.dtype)
    tensor.untyped_storage()._data = values  # the storage of it: shape and strides are those of each pretended tensor
    return _view(tensor, values)


def _view(of: Tensor, like: Tensor) -> Tensor:
    """A view of a pretended tensor's storage, of the shape, strides and offset of `like`."""
    shape, stride, offset = like.shape, like.stride(), like.storage_offset()
    if of.dtype != like.dtype:  # Tensor.view(dtype)
        fresh = torch._C._acc.create_empty_tensor(list(shape), like.dtype)
        fresh.untyped_storage()._data = of.untyped_storage()._data  # type: ignore[attr-defined]
        of = fresh
    return torch.ops.aten.as_strided.default.redispatch(_META, of, shape, stride, offset)


def _deepcopy(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    if not there(tensor):
        return _deepcopy_of_torch(tensor, memo)
    if id(tensor) not in memo:
        memo[id(tensor)] = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        memo[id(tensor)].__dict__ = copy.deepcopy(tensor.__dict__, memo)
    return memo[id(tensor)]


def _address(tensor: Tensor) -> int:
    return _address_of_torch(data(tensor) if there(tensor) else tensor)


_deepcopy_of_torch, _reduce_of_torch, _address_of_torch = Tensor.__deepcopy__, Tensor.__reduce_ex__, Tensor.data_ptr


def _reduce(tensor: Tensor, protocol: Any) -> Any:
    """Written to a file as its data are; torch.load's `map_location` says where they are to be read to."""
    found = data(tensor).requires_grad_(tensor.requires_grad) if there(tensor) else tensor
    return _reduce_of_torch(found, protocol)


def _deserialised(storage: torch.UntypedStorage, location: str) -> torch.UntypedStorage | None:
    """What torch.load brings to this device."""
    if not location.startswith(NAME):
        return None
    return pretended(torch.empty(0, dtype=torch.uint8).set_(storage)).untyped_storage()


# -- operations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Facts:
    """What is looked up of an operation at each call. tensors: positions of arguments that are tensors."""

    pointwise: bool
    draws: bool
    resizes: bool  # its `out`
    tensors: tuple[int, ...]


@functools.cache
def _facts(operation: Any) -> _Facts:
    arguments = enumerate(operation._schema.arguments)
    tensors = tuple(place for place, argument in arguments if isinstance(argument.type, torch.TensorType))
    draws = torch.Tag.nondeterministic_seeded in operation.tags
    resizes = any(argument.is_out for argument in operation._schema.arguments)
    return _Facts(torch.Tag.pointwise in operation.tags, draws, resizes, tensors)


def _fallback(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Compute an operation on the data of its arguments."""
    watch.look(operation, args)
    places = _facts(operation).tensors
    if any(place < len(args) and args[place].__class__ in _NUMBERS for place in places):
        return _compute(operation, args, kwargs, _for_numbers(operation))
    return _compute(operation, args, kwargs)


@functools.cache
def _for_numbers(operation: Any) -> Callable[..., Any]:
    """The operation, or all overloads of its name, which take a number for a tensor: C++ hands on 2 for tensor(2)."""
    name = operation._schema.name
    return operation if torch._C._should_allow_numbers_as_tensors(name.split("::")[1]) else operation.overloadpacket


def _compute(
    operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], function: Callable[..., Any] | None = None
) -> Any:
    found: list[tuple[Tensor, Tensor]] = []  # pretended, its data
    hosts: list[Tensor] = []

    def inside(value: Any) -> Any:
        kind = value.__class__
        if kind is list or kind is tuple:
            return [inside(item) for item in value]
        if isinstance(value, Tensor):
            if not there(value):
                hosts.append(value)
                return value
            found.append((value, data(value)))
            return found[-1][1]
        return torch.device("cpu") if kind is torch.device else value

    inner = [inside(value) for value in args]
    named = {name: inside(value) for name, value in kwargs.items()} if kwargs else {}
    facts = _facts(operation)
    if hosts and found and not (facts.pointwise and all(host.dim() == 0 for host in hosts)):
        shapes = ", ".join(str(list(host.shape)) for host in hosts)
        raise WrongDevice(f"{watch.line()}{operation}: tensors of {NAME} and of the CPU ({shapes})")
    shapes = [values.shape for _, values in found] if facts.resizes else []
    if facts.draws:
        with generators.of_device(operation, args, kwargs):
            result = (function or operation)(*inner, **named)
    else:
        result = (function or operation)(*inner, **named)
    for (tensor, values), shape in zip(found, shapes, strict=False):
        if values.shape != shape:
            tensor.data = pretended(values)
    return _outside(result, found)


def _outside(result: Any, found: list[tuple[Tensor, Tensor]]) -> Any:
    if isinstance(result, list | tuple):
        return type(result)(_outside(item, found) for item in result)
    if not isinstance(result, Tensor):
        return result
    storage = result.untyped_storage()._cdata
    for tensor, values in found:
        if values is result:
            return tensor
    for tensor, values in found:
        if values.untyped_storage()._cdata == storage:
            return _view(tensor, result)
    return pretended(result)


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    if there(target) != there(source):
        watch.look_at_copy(to_host=there(source), non_blocking=non_blocking)
    (data(target) if there(target) else target).copy_(data(source) if there(source) else source)
    return target


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    return _copy(target, source, non_blocking)


def _convolution(*args: Any) -> Any:
    return _compute(torch.ops.aten.convolution.default, args, {})


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
    mask: list[bool],
) -> Any:
    operation = torch.ops.aten.convolution_backward.default
    settings = (stride, padding, dilation, transposed, output_padding, groups, mask)
    return _compute(operation, (grad, x, weight, [weight.shape[0]], *settings), {})


def _set(target: Tensor, source: torch.UntypedStorage, offset: int, size: Any, stride: Any = ()) -> Tensor:
    """Tensor.set_: torch.load makes its tensors so, of the storages that it has read."""
    values = torch.empty(0, dtype=target.dtype)
    target.data = pretended(values.set_(source._data.untyped_storage(), offset, size, stride))  # type: ignore[attr-defined]
    return target


_INSTEAD: dict[str, Callable[..., Any]] = {
    "copy_": _copy,
    "set_.source_Storage_storage_offset": _set,
    "_copy_from": _copy_from,
    "convolution_overrideable": _convolution,
    "convolution_backward_overrideable": _convolution_backward,
}
