"""Running sums between two evaluations, kept on the device, and the flag that says a loss was not finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from methods.base import Terms
from platform.core.accelerator import background_copy, is_accelerator

__all__ = ["Tally"]


class Tally:
    """Means of the loss terms over the steps since the last reading. Adding never waits for the device.

    Steps with a non-finite term set the flag `bad` and are left out of the sums, so that the means stay readable.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copy: tuple[Tensor, Any] | None = None
        self.bad = torch.zeros((), dtype=torch.bool, device=device)
        self.reset()

    def reset(self) -> None:
        self.names: tuple[str, ...] = ()
        self.sums = torch.zeros(0, dtype=torch.float64, device=self.device)
        self.counts = torch.zeros(0, dtype=torch.float64, device=self.device)
        self.images = 0
        self.seconds = 0.0  # of training, without evaluation

    def add(self, terms: Terms, images: int) -> None:
        values = torch.stack([term.detach().double() for term in terms.values()])
        if tuple(terms) != self.names:
            values, weight = self._align(terms, values)
        else:
            weight = torch.ones_like(values)
        finite = values.isfinite().all()
        self.bad |= ~finite
        self.sums += torch.where(finite, values, 0.0)
        self.counts += weight * finite
        self.images += images

    def _align(self, terms: Terms, values: Tensor) -> tuple[Tensor, Tensor]:
        """Align the values with the sums: the terms of two steps may differ (a ramp, an alternation)."""
        new = [name for name in terms if name not in self.names]
        self.names += tuple(new)
        zeros = torch.zeros(len(new), dtype=torch.float64, device=self.device)
        self.sums, self.counts = torch.cat([self.sums, zeros]), torch.cat([self.counts, zeros])
        if tuple(terms) == self.names:
            return values, torch.ones_like(values)
        zero, one = torch.zeros_like(values[0]), torch.ones_like(values[0])  # an index would be a copy from the host
        by_name = dict(zip(terms, values, strict=True))
        aligned = torch.stack([by_name.get(name, zero) for name in self.names])
        return aligned, torch.stack([one if name in terms else zero for name in self.names])

    def diverged(self) -> bool:
        """Whether a loss was not finite. On a GPU as of the last call: the flag is copied in the background."""
        if not is_accelerator(self.device):
            return bool(self.bad)
        diverged = False
        if self._copy is not None:
            flag, event = self._copy
            if not event.query():
                return False
            diverged = bool(flag)
        self._copy = background_copy(self.bad)
        return diverged

    def read(self) -> tuple[dict[str, float], bool]:
        """({"train_loss": ..., "loss/NAME": ...}, diverged) since the last reading, and start anew. Waits once.

        train_loss is the mean of the sum of the terms; NaN where no step was finite.
        """
        *numbers, bad = torch.cat([self.sums, self.counts, self.bad[None].double()]).tolist()
        sums, counts = numbers[: len(self.names)], numbers[len(self.names) :]
        steps = max(counts, default=0)
        metrics = {"train_loss": sum(sums) / steps if steps else float("nan")}
        for name, total, count in zip(self.names, sums, counts, strict=True):
            metrics[f"loss/{name}"] = total / count if count else float("nan")
        self.reset()
        return metrics, bool(bad)

    def state_dict(self) -> dict[str, Any]:
        names = ("names", "sums", "counts", "bad", "images", "seconds")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._copy = None
        for name, value in state.items():
            setattr(self, name, value.to(self.device, copy=True) if isinstance(value, Tensor) else value)
