"""Batches of a trial: uint8 images that stay on the device, endless index streams, views made where the images lie.

There are no loader processes and no copies per step. Every stream, and every view of it, draws from generators of its
own, seeded by name: the views that one method needs never shift those of another, so methods meet the same labelled
images in the same order. In the steady state nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from methods.base import Batch, Views
from platform.core.accelerator import is_accelerator
from platform.core.spec import derive_seed
from platform.data.dataset import Augment, Dataset, LabelPlan
from platform.data.device_images import DeviceImages
from platform.data.streams import ImageStream, PositionLabels
from platform.data.view_maker import ViewMaker

__all__ = ["Batches", "LabelledTrainingImages", "MetaSource"]

MetaSource = Literal["training", "held_out", "unlabelled", "clean"]


class Batches:
    """The batches of a trial, step by step, and the images it is evaluated on.

    views, sizes: which views of which streams, and how many images a step (`Method.views`, `Method.stream_sizes`).
    seed: of the axis "order". meta_source: where the meta stream comes from: "training" (a fixed draw of at most
    `meta_set_size` labelled images, which stay training images), "held_out" (the validation part), "clean" (the images
    with verified labels) or "unlabelled", from which `meta_set_size` are drawn likewise; None = all. images: a
    DeviceImages to go on using; one that does not fit is left alone. augment: instead of the dataset's. channels_last:
    memory format of views; None = on an accelerator.

    Raises UserError where a stream has no image to draw from.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: LabelPlan,
        views: Views,
        sizes: dict[str, int],
        device: torch.device | str,
        seed: int,
        meta_set_size: int | None = None,
        meta_source: MetaSource = "training",
        *,
        images: DeviceImages | None = None,
        augment: Augment | None = None,
        channels_last: bool | None = None,
    ) -> None:
        self.device, self.seed = torch.device(device), seed
        self.images = images if images is not None and images.fits(dataset, device) else DeviceImages(dataset, device)
        last = is_accelerator(self.device) if channels_last is None else channels_last
        self.view_maker = ViewMaker(self.images.statistics, augment or dataset.augment, self.device, last)
        self._labels = PositionLabels.of_plan(dataset, plan, self.device)
        pools = {
            "labelled": plan.labelled,
            "unlabelled": plan.unlabelled,
            "meta": _meta_set(plan, meta_set_size, meta_source, seed),
        }
        labels = {
            "labelled": self._labels.given,
            "unlabelled": self._labels.none,
            "meta": self._labels.none if meta_source == "unlabelled" else self._labels.given,
        }
        self._streams: dict[str, ImageStream] = {}
        for name, pool in pools.items():
            names, size = tuple(getattr(views, name)), sizes.get(name, 0)
            if name == "labelled" or (names and size):
                self._streams[name] = ImageStream(
                    name, names, size, pool, labels[name], self._labels.true, len(dataset.train), seed
                )

    # -- training ----------------------------------------------------------------------------------------------------

    def next(self, step: int, steps: int) -> Batch:
        """The next batch. Streams are endless; `step` and `steps` are only passed on."""
        streams = {name: stream.next(self.images, self.view_maker) for name, stream in self._streams.items()}
        return Batch(
            labelled=streams["labelled"],
            unlabelled=streams.get("unlabelled"),
            meta=streams.get("meta"),
            step=step,
            progress=step / steps,
        )

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float32 with the training images' channel mean 0 and deviation 1."""
        return self.view_maker.normalise(images)

    def labelled_images(self) -> LabelledTrainingImages:
        """The images of the labelled stream by position, for a method that looks at all of them."""
        index = self._streams["labelled"].order.pool
        return LabelledTrainingImages(self.images, self.view_maker, index, self._labels.given[index])

    # -- evaluation --------------------------------------------------------------------------------------------------

    def plain(self, positions: np.ndarray | Tensor | Sequence[int], size: int) -> Iterator[Tensor]:
        """Plain normalised views of these positions (training part, then extra), in order, `size` at a time."""
        places = torch.as_tensor(positions, dtype=torch.int64)
        extra = bool(len(places)) and int(places.max()) >= len(self.images.train)
        for chunk in places.to(self.device).split(size):
            if len(chunk):
                yield self.normalise(self.images.take(chunk, extra))

    def test(self, size: int) -> Iterator[Tensor]:
        """Plain normalised views of the test images, in order, `size` at a time. Uploaded at the first call."""
        for chunk in self.images.test.split(size):
            if len(chunk):
                yield self.normalise(chunk)

    # -- state -------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Enough to bring back exactly the next batches, on the same kind of device."""
        return {name: stream.state_dict() for name, stream in self._streams.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError where the state is of other streams or views."""
        expected = {name: stream.views for name, stream in self._streams.items()}
        saved = {name: tuple(stream["views"]) for name, stream in state.items()}
        if expected != saved:
            raise ValueError(f"the saved batches have views {saved}, this trial asks for {expected}")
        for name, stream in self._streams.items():
            stream.load_state_dict(state[name])


class LabelledTrainingImages:
    """Implements methods.base.LabelledImages: draws from the generator given, never from the streams' own.

    index: positions of the images, [N] int64 on the device. y: their given labels.
    """

    def __init__(self, images: DeviceImages, view_maker: ViewMaker, index: Tensor, y: Tensor) -> None:
        self._images, self._view_maker, self.index, self.y = images, view_maker, index, y

    def view(self, index: Tensor, name: str, generator: torch.Generator) -> Tensor:
        """[N, C, H, W] normalised views; of a strong one, the host's draws come from `generator` too (one wait)."""
        host = generator
        if name == "strong" and is_accelerator(generator.device):
            seed = torch.randint(2**62, (), generator=generator, device=generator.device)
            host = torch.Generator().manual_seed(int(seed))
        return self._view_maker.view(name, self._images.take(index), generator, host)


def _meta_set(plan: LabelPlan, size: int | None, source: str, seed: int) -> np.ndarray:
    """Positions of the meta stream: all of its source, or a fixed draw of at most `size`."""
    pools = {"training": plan.labelled, "held_out": plan.val, "unlabelled": plan.unlabelled, "clean": plan.clean}
    if source not in pools:
        raise ValueError(f"no such source of a meta set: {source!r}; one of {', '.join(pools)}")
    pool = np.asarray(pools[source])
    if size is None or size >= len(pool):
        return pool
    chosen = np.random.default_rng(derive_seed(seed, "batches", "meta", "set")).permutation(len(pool))[:size]
    return pool[np.sort(chosen)]
