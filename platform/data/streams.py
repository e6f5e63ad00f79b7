"""One endless stream of a trial (labelled, unlabelled or meta): its images in order, its labels, its views."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from methods.base import Stream
from platform.core.errors import Problem, UserError
from platform.core.spec import derive_seed
from platform.data.dataset import Dataset, LabelPlan
from platform.data.device_images import DeviceImages
from platform.data.order import Order
from platform.data.view_maker import VIEW_NAMES, ViewMaker

__all__ = ["ImageStream", "PositionLabels"]


@dataclass(frozen=True)
class PositionLabels:
    """Labels by position (training part, then extra), each [N] int64 on the device; -1 = none."""

    given: Tensor
    true: Tensor
    none: Tensor  # -1 everywhere: what an unlabelled stream shows

    @classmethod
    def of_plan(cls, dataset: Dataset, plan: LabelPlan, device: torch.device) -> PositionLabels:
        """The labels of `plan`, on `device`."""
        count = len(dataset.train) + (0 if dataset.extra is None else len(dataset.extra))
        none = torch.full((count,), -1, dtype=torch.int64, device=device)
        given, true = none.clone(), none.clone()
        given[: len(plan.given)] = torch.from_numpy(plan.given.astype(np.int64)).to(device)
        if plan.true is not None:
            true[: len(plan.true)] = torch.from_numpy(plan.true.astype(np.int64)).to(device)
        return cls(given, true, none)


class ImageStream:
    """Draws images in an order of its own and makes its views of them, from generators of its own.

    pool: positions to draw from, [N]. size: images per step. y: the labels shown, by position. train_images: size of
    the training part, from which on positions are images without label. seed: of the axis "order"; the generators are
    derived from it by the stream's and the views' names.

    Raises UserError where the pool is empty, or where a meta batch is larger than its meta set.
    """

    def __init__(
        self,
        name: str,
        views: tuple[str, ...],
        size: int,
        pool: np.ndarray,
        y: Tensor,
        true: Tensor,
        train_images: int,
        seed: int,
    ) -> None:
        self.views, self.size, self.y, self.true = views, size, y, true
        _check_stream(name, views, size, len(pool))
        self._extra = bool(np.max(pool) >= train_images)
        device = y.device
        positions = torch.from_numpy(np.asarray(pool, dtype=np.int64)).to(device)
        self.order = Order(positions, _generator(device, seed, name, "order"))
        self._generators: list[tuple[torch.Generator, torch.Generator]] = []  # (device, host) per view
        occurrences: Counter[str] = Counter()
        for view in views:  # by name and occurrence: another order of the same views draws the same images
            names = (name, view, occurrences[view])
            host = _generator(torch.device("cpu"), seed, *names, "host")
            self._generators.append((_generator(device, seed, *names), host))
            occurrences[view] += 1

    def next(self, images: DeviceImages, maker: ViewMaker) -> Stream:
        """The next `size` images: their views, labels and positions."""
        index = self.order.take(self.size)
        raw = images.take(index, self._extra)
        views = tuple(
            maker.view(name, raw, device, host)
            for name, (device, host) in zip(self.views, self._generators, strict=True)
        )
        return Stream(self.views, views, y=self.y[index], true=self.true[index], index=index)

    def state_dict(self) -> dict[str, Any]:
        return {
            "order": self.order.state_dict(),
            "views": self.views,
            "generators": [(device.get_state(), host.get_state()) for device, host in self._generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.order.load_state_dict(state["order"])
        for (device, host), (device_state, host_state) in zip(self._generators, state["generators"], strict=True):
            device.set_state(device_state.cpu())
            host.set_state(host_state.cpu())


def _generator(device: torch.device, seed: int, *names: str | int) -> torch.Generator:
    return torch.Generator(device).manual_seed(derive_seed(seed, "batches", *names))


def _check_stream(name: str, views: tuple[str, ...], size: int, available: int) -> None:
    unknown = [view for view in views if view not in VIEW_NAMES]
    if unknown:
        raise ValueError(f"no such view: {unknown[0]!r}; a view is one of {', '.join(VIEW_NAMES)}")
    if not available and name == "meta":
        hint = "labels: {clean: 100} sets some aside; or take others: meta_source"
        raise UserError(Problem("the meta set of this method has no image", "labels.clean", hint=hint))
    if not available:
        hint = "python -m platform.sweep SPACE.yaml --dry-run shows how many images each stream has"
        raise UserError(Problem(f"no image is left for the {name} stream of this method", "labels", hint=hint))
    if name == "meta" and size > available:
        message = f"a meta batch of {size} images is larger than its meta set of {available}"
        hint = f"at most {available}; or draw the meta set from more images (meta_source, meta_set_size, labels.clean)"
        raise UserError(Problem(message, "meta_batch_size", hint=hint))
