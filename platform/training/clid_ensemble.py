"""An ensemble of the evaluations with the lowest validation CLID: the sum of their test logits. Only recorded."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

import torch
from torch import Tensor

__all__ = ["LIMIT", "SIZES", "ClidEnsemble"]

SIZES = (1, 3, 5)
LIMIT = 64 * 2**20  # bytes of all kept logits together; they also travel in every checkpoint


class ClidEnsemble:
    """Test logits of the evaluations with the lowest validation CLID so far, on the CPU.

    The released code's "acc_1 / acc_3 / acc_5" (docs/clid_mu.md, section 5.3): raw logits added, then argmax. Our
    reading: theirs ranks by CLID on the meta set, ours by CLID on the fixed validation batch (val_clid), which every
    method has.
    Nothing is kept where the most logits to keep would need more than `limit` bytes.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.criteria: list[float] = []  # ascending; of equal ones the earlier evaluation first
        self.logits: list[Tensor] = []  # [N, K] float32 each, in that order

    def offer(self, criterion: float, logits: Tensor) -> None:
        """Keep the logits if the criterion is among the lowest so far.

        criterion: lower is better. logits: [N, K] on any device, copied from there only if they are kept.

        A criterion or logits that are not finite, and logits of no image, are never kept.
        """
        place = bisect_right(self.criteria, criterion) if math.isfinite(criterion) else SIZES[-1]
        too_large = logits.numel() * torch.float32.itemsize * SIZES[-1] > self.limit
        if place >= SIZES[-1] or too_large or not logits.numel():
            return
        kept = logits.detach().to("cpu", torch.float32, copy=True)
        if not kept.isfinite().all():
            return
        self.criteria.insert(place, criterion)
        self.logits.insert(place, kept)
        del self.criteria[SIZES[-1] :], self.logits[SIZES[-1] :]

    def sums(self) -> dict[int, Tensor]:
        """The sum [N, K] of the logits by ensemble size; of all where there are fewer, {} where there is none.

        In float64, which adds five equal float32 without rounding: their argmax is that of one.
        """
        sums: dict[int, Tensor] = {}
        total: Tensor | None = None
        for count, logits in enumerate(self.logits, start=1):
            total = logits.double() if total is None else total + logits
            sums |= {size: total for size in SIZES if size >= count}
        return sums

    def state_dict(self) -> dict[str, Any]:
        return {"criteria": list(self.criteria), "logits": list(self.logits)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """An empty state (a checkpoint from before there were snapshots) starts from nothing."""
        self.criteria = list(state.get("criteria", []))
        self.logits = [logits.cpu() for logits in state.get("logits", [])]
