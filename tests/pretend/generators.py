"""Generators of the pretended device: those of the CPU, told apart from them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.pretend import watch

__all__ = ["Generator", "GeneratorsOfTheDevice", "WrongGenerator", "default", "of_device"]

_Original = torch.Generator
_MARK = torch.arange(8, dtype=torch.uint8)


class WrongGenerator(RuntimeError):
    """A random operation on one device with a generator of another."""


class _Kind(type(_Original)):
    def __call__(cls, device: Any = "cpu") -> torch.Generator:
        return type.__call__(_Pretended) if torch.device(device).type == "pretend" else _Original(device)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _Original)


class Generator(_Original, metaclass=_Kind):
    """Stands for torch.Generator, and makes those of the pretended device, too."""


class _Pretended(_Original):
    known: ClassVar[set[int]] = set()  # addresses of them: C++ hands on the generator, not the object of Python

    def __init__(self) -> None:
        super().__init__()
        self.known.add(self._cdata)

    def __del__(self) -> None:
        self.known.discard(self._cdata)

    def get_state(self) -> Tensor:
        return torch.cat([super().get_state(), _MARK])  # of another size than a CPU's, as a GPU's is

    def set_state(self, new_state: Tensor) -> torch.Generator:
        if len(new_state) < len(_MARK) or not new_state[-len(_MARK) :].cpu().equal(_MARK):
            raise RuntimeError("RNG state is wrong size")
        return super().set_state(new_state[: -len(_MARK)])

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device("pretend:0")


@functools.cache
def default() -> torch.Generator:
    """The generator that operations draw from which are given none."""
    return _Pretended()


@contextlib.contextmanager
def of_device(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
    """For an operation that draws: the CPU's default generator has the state of the device's, where none is given.

    Raises WrongGenerator where one of the CPU is given.
    """
    given = [value for value in (*args, *kwargs.values()) if isinstance(value, _Original)]
    if any(generator._cdata not in _Pretended.known for generator in given):
        raise WrongGenerator(f"{watch.line()}{operation} on the device with a generator of the CPU")
    if given:
        yield
        return
    outer = torch.get_rng_state()
    torch.set_rng_state(_Original.get_state(default()))
    try:
        yield
    finally:
        _Original.set_state(default(), torch.get_rng_state())
        torch.set_rng_state(outer)


class GeneratorsOfTheDevice(TorchFunctionMode):
    """Raises WrongGenerator where an operation on the CPU is given a generator of the pretended device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        generator = kwargs.get("generator") if kwargs else None
        if generator.__class__ is _Pretended and isinstance(result, Tensor) and result.device.type == "cpu":
            raise WrongGenerator(f"{watch.line()}{func.__name__} on the CPU with a generator of the device")
        return result
