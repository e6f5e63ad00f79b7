"""The distance that the head and the class centres have moved since the evaluation before.

docs/layermatch.md, section 8, item 8.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.centres import Centres

__all__ = ["Drift"]


class Drift:
    """Keeps the head's weight [K, D] and the centres [K, D]; of a method with several, the first ones."""

    def __init__(self, method: nn.Module) -> None:
        self._before: dict[str, Tensor] = self._now(method)

    def _now(self, method: nn.Module) -> dict[str, Tensor]:
        weight = getattr(getattr(getattr(method, "model", None), "head", None), "weight", None)
        centres = next((module for module in method.modules() if isinstance(module, Centres)), None)
        tensors = {"head": weight, "centres": None if centres is None else centres.centres}
        return {name: value.detach().clone() for name, value in tensors.items() if value is not None}

    def read(self, method: nn.Module) -> dict[str, Tensor]:
        """head_drift and, with centres, centre_drift, centre_head_cosine, centre_pair_cosine; on the device."""
        now, before = self._now(method), self._before
        self._before = now
        drift = {
            name: _relative(now[kind], before[kind])
            for name, kind in (("head_drift", "head"), ("centre_drift", "centres"))
            if kind in now
        }
        if {"head", "centres"} <= now.keys() and now["head"].shape == now["centres"].shape:
            drift |= _geometry(now["head"], now["centres"])
        return drift

    def state_dict(self) -> dict[str, Any]:
        return dict(self._before)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._before = {name: value.to(value.device, copy=True) for name, value in state.items()}


def _relative(now: Tensor, before: Tensor) -> Tensor:
    """|now - before| / |before|; NaN where `before` is 0."""
    size = before.norm()
    return torch.where(size > 0, (now - before).norm() / size, torch.nan)


def _geometry(head: Tensor, centres: Tensor) -> dict[str, Tensor]:
    """Over the classes that have a centre; NaN where too few have one."""
    unit = F.normalize(centres, dim=1)
    present = (centres.norm(dim=1) > 0).to(unit.dtype)
    pairs = present[:, None] * present * (1 - torch.eye(len(present), device=present.device, dtype=present.dtype))
    own = F.cosine_similarity(centres, head.to(centres.dtype), dim=1)
    return {
        "centre_head_cosine": (own * present).sum() / present.sum(),
        "centre_pair_cosine": (unit @ unit.T * pairs).sum() / pairs.sum(),
    }
