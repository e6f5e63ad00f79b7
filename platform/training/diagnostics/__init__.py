"""Diagnostics of a trial at an evaluation, beside its accuracy. names.py explains each name."""

from __future__ import annotations

from typing import Any, Literal

import torch

from methods.base import Method
from platform.data.batches import Batches
from platform.data.dataset import Dataset, LabelPlan
from platform.training.diagnostics.drift import Drift
from platform.training.diagnostics.probe import ProbeImages

__all__ = ["Diagnostics"]


class Diagnostics:
    """Computes the diagnostics of one trial, at the level of train.diagnostics.

    level: "off" gives the method's own records, "cheap" adds how far head and centres moved, "full" uses probe images.

    Nothing here changes the training: no weight, statistic or random state. seed: of the axis "split".
    """

    def __init__(
        self,
        level: Literal["off", "cheap", "full"],
        dataset: Dataset,
        plan: LabelPlan,
        batches: Batches,
        method: Method,
        seed: int,
        amp: bool,
    ) -> None:
        self.drift = None if level == "off" else Drift(method)
        self.probe = ProbeImages(dataset, plan, batches, seed, amp) if level == "full" else None

    def __call__(self, method: Method, compiled: bool = False) -> dict[str, float]:
        """Values by name, without diag/. Waits for the device."""
        values_by_name = method.read_records()
        if self.drift is not None:
            moved = self.drift.read(method)
            values = torch.stack([value.double() for value in moved.values()]).tolist() if moved else []
            values_by_name |= dict(zip(moved, values, strict=True))
        return values_by_name if self.probe is None else values_by_name | self.probe(method, compiled)

    def state_dict(self) -> dict[str, Any]:
        return {} if self.drift is None else self.drift.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.drift is not None and state:
            self.drift.load_state_dict(state)
