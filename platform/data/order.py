"""The order in which a stream goes through its images: one random permutation after another, resumed exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["Order"]


class Order:
    """An endless sequence of positions: one random permutation of the pool after another.

    The sequence depends on the pool and the generator's seed, not on how many positions are taken at a time. Of a pass
    only the generator's state at its start is kept, so a checkpoint is small whatever the pool.
    """

    def __init__(self, pool: Tensor, generator: torch.Generator) -> None:
        self.pool, self.generator = pool, generator
        self.passes = 0  # begun
        self._begin()

    def _begin(self) -> None:
        self._start = self.generator.get_state()
        shuffled = torch.randperm(len(self.pool), generator=self.generator, device=self.pool.device)
        self._pass = self.pool[shuffled]
        self._used = 0
        self.passes += 1

    def take(self, count: int) -> Tensor:
        """The next `count` positions, [count] int64. `count` may exceed the size of the pool."""
        pieces = [self._pass[:0]] if count == 0 else []
        while count:
            if self._used == len(self._pass):
                self._begin()
            piece = self._pass[self._used : self._used + count]
            self._used += len(piece)
            count -= len(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def state_dict(self) -> dict[str, Any]:
        return {"start": self._start.clone(), "used": self._used, "passes": self.passes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["start"].cpu())
        self._begin()
        self._used, self.passes = state["used"], state["passes"]
