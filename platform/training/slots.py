"""Slots: the number of trials that a machine or a cluster trains at once, and the resources of each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Slots", "share", "slots_here"]


@dataclass(frozen=True)
class Slots:
    """`count` trials at once, each with these resources."""

    count: int
    cpu: float
    gpu: float

    @property
    def device(self) -> str:
        return "cuda" if self.gpu else "cpu"


def slots_here(resources: Any, rows_to_run: int) -> Slots:
    """Slots of this machine, counted without Ray. resources: of the sweep file (cpu, gpu, concurrent)."""
    import torch

    have = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    return share(resources, have, rows_to_run)


def share(resources: Any, have: Mapping[str, float], rows_to_run: int) -> Slots:
    """Slots that fit at once into `have` (amounts by Ray's names of resources); at least one."""
    gpu = resources.gpu if resources.gpu != "auto" else float(have.get("GPU", 0) >= 1)
    fit = have.get("CPU", 0) // resources.cpu
    if gpu:
        fit = min(fit, have.get("GPU", 0) // gpu)
    if resources.concurrent != "auto":
        fit = resources.concurrent
    # A cluster that grows on demand may have nothing yet: pending trials are what makes it grow.
    return Slots(max(1, min(int(fit), rows_to_run)), resources.cpu, gpu)
