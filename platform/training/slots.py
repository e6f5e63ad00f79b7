"""Slots: the number of trials that a machine or a cluster trains at once, and the resources of each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import platform.core.accelerator as accelerator

__all__ = ["Slots", "demand", "fits", "fitting", "gpu_share", "here", "share", "slots_here", "supply", "surplus"]


@dataclass(frozen=True)
class Slots:
    """`count` trials at once, each with these resources."""

    count: int
    cpu: float
    gpu: float

    @property
    def device(self) -> str:
        """The kind of device. What a trial trains on is decided where it trains: slot_device.py."""
        return accelerator.kind() if self.gpu else "cpu"

    @property
    def bundle(self) -> dict[str, float]:
        """The resources of one trial by Ray's names."""
        return {"CPU": self.cpu} | ({"GPU": self.gpu} if self.gpu else {})

    def room(self, machine: Mapping[str, float]) -> int:
        """The number of these trials that a machine has room for."""
        fit = machine.get("CPU", 0) // self.cpu
        return int(min(fit, machine.get("GPU", 0) // self.gpu) if self.gpu else fit)


def here() -> dict[str, float]:
    """CPU cores and GPUs of this machine by Ray's names, counted without Ray."""
    return {"CPU": float(os.cpu_count() or 1), "GPU": float(accelerator.count())}


def slots_here(resources: Any, rows_to_run: int) -> Slots:
    """Slots of this machine, counted without Ray. resources: of the sweep file (cpu, gpu, concurrent)."""
    return share(resources, here(), rows_to_run)


def share(resources: Any, have: Mapping[str, float], rows_to_run: int) -> Slots:
    """Slots that fit at once into `have` (amounts by Ray's names of resources); at least one."""
    fit = fitting(resources, have) if resources.concurrent == "auto" else resources.concurrent
    # A cluster that grows on demand may have nothing yet: pending trials are what makes it grow.
    return Slots(max(1, min(fit, rows_to_run)), resources.cpu, _gpu(resources, have))


def fitting(resources: Any, have: Mapping[str, float]) -> int:
    """The number of trials that the resources of `have` are enough for, whatever resources.concurrent says."""
    return Slots(1, resources.cpu, _gpu(resources, have)).room(have)


def fits(resources: Any, machine: Mapping[str, float]) -> bool:
    """Whether a trial fits on a machine."""
    return fitting(resources, machine) >= 1


def gpu_share(resources: Any, machines: Iterable[Mapping[str, float]]) -> float:
    """The GPUs of a trial. `auto`: one where a machine has one, and the CPU cores that a trial asks for beside it."""
    if resources.gpu != "auto":
        return resources.gpu
    return float(any(_gpu(resources, machine) and fits(resources, machine) for machine in machines))


def _gpu(resources: Any, have: Mapping[str, float]) -> float:
    return resources.gpu if resources.gpu != "auto" else float(have.get("GPU", 0) >= 1)


def demand(resources: Any) -> str:
    """The resources that a trial asks for, as text: 1 CPU core and 0.5 GPUs."""
    gpu = 0 if resources.gpu == "auto" else resources.gpu
    return _cores(resources.cpu) + (f" and {_gpus(gpu)}" if gpu else "")


def supply(machine: Mapping[str, float]) -> str:
    """The resources of a machine, as text: 4 CPU cores and no GPU."""
    gpu = machine.get("GPU", 0)
    return f"{_cores(machine.get('CPU', 0))} and {_gpus(gpu) if gpu else 'no GPU'}"


def surplus(resources: Any, have: Mapping[str, float]) -> str:
    """A sentence where resources.concurrent is more than what fits at once; else nothing."""
    fit = fitting(resources, have)
    if resources.concurrent == "auto" or resources.concurrent <= fit:
        return ""
    more = f"resources.concurrent is {resources.concurrent}, but only {fit} fit{'s' * (fit == 1)} at once into "
    return f"{more}{supply(have)}, at {demand(resources)} a trial; the others wait"


def _cores(count: float) -> str:
    return f"{count:g} CPU core{'s' * (count != 1)}"


def _gpus(count: float) -> str:
    return f"{count:g} GPU{'s' * (count != 1)}"
