"""Batches of a trial: uint8 images that stay on the device, endless index streams, views made where the images lie.

There are no loader processes and no copies per step. Every stream, and every view of it, draws from generators of its
own, seeded by name: what one method asks for never shifts what another one sees, so methods meet the same labelled
images in the same order. In the steady state nothing waits for the device.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from methods.base import Batch, Stream, Views
from platform.core.errors import Problem, UserError
from platform.core.spec import derive_seed
from platform.data.augment import GREY, operations, strong, weak
from platform.data.augment_ops import Operation
from platform.data.dataset import Augment, Dataset, LabelPlan

__all__ = ["Batches", "DeviceImages", "MetaSource", "Order", "Statistics", "statistics"]

MetaSource = Literal["training", "held_out", "unlabelled"]
VIEWS = ("plain", "weak", "strong")
_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel, in levels (0 to 255)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def statistics(images: np.ndarray, largest: int = 10_000, largest_bytes: int = 2**28) -> Statistics:
    """Channel statistics of at most `largest` images, evenly spaced over `images` ([N, C, H, W] uint8).

    Exact on those images: sums of whole numbers. A channel without contrast gets a deviation of one level.
    """
    count = min(len(images), largest, max(1, largest_bytes // max(1, images[0].nbytes)))
    chosen = np.linspace(0, len(images) - 1, count).astype(np.int64)
    total = np.zeros((2, images.shape[1]), dtype=np.int64)
    for part in np.array_split(chosen, 1 + count * images[0].nbytes // _CHUNK_BYTES):
        block = images[part]
        squares = np.square(block.astype(np.uint16))  # 255**2 just fits
        total += np.stack([levels.sum(axis=(0, 2, 3), dtype=np.int64) for levels in (block, squares)])
    mean, square = total / (count * images.shape[2] * images.shape[3])
    return Statistics(tuple(mean.tolist()), tuple(np.sqrt(np.maximum(square - mean**2, 1.0)).tolist()))


class DeviceImages:
    """The images of a dataset on a device, each part put there when it is first asked for, once.

    On a CPU the parts are the dataset's memory maps themselves: nothing is copied and all processes share the pages.
    Give the object of one trial to the next (`Batches(..., images=previous.images)`) to upload only once.
    """

    def __init__(self, dataset: Dataset, device: torch.device | str) -> None:
        self.dataset, self.device = dataset, torch.device(device)
        self.statistics = statistics(dataset.train.images)
        self._parts: dict[str, Tensor] = {}

    def fits(self, dataset: Dataset, device: torch.device | str) -> bool:
        """Whether this object holds (or can hold) these images on this device."""
        return _identity(dataset) == _identity(self.dataset) and torch.device(device) == self.device

    @property
    def train(self) -> Tensor:
        return self._part("train", self.dataset.train.images)

    @property
    def test(self) -> Tensor:
        return self._part("test", self.dataset.test.images)

    @property
    def extra(self) -> Tensor | None:
        return None if self.dataset.extra is None else self._part("extra", self.dataset.extra)

    def take(self, positions: Tensor, extra: bool = False) -> Tensor:
        """Images at `positions` ([N] int64 on the device): uint8 [N, C, H, W].

        With `extra`, positions from len(train) on are images without label; both parts are then read and one is
        chosen per image, since finding out which are which would wait for the device.
        """
        if not extra or self.extra is None:
            return self.train.index_select(0, positions)
        count = len(self.train)
        labelled = self.train.index_select(0, positions.clamp(max=count - 1))
        further = self.extra.index_select(0, (positions - count).clamp(min=0))
        return torch.where((positions < count)[:, None, None, None], labelled, further)

    def _part(self, name: str, images: np.ndarray) -> Tensor:
        if name not in self._parts:
            self._parts[name] = _upload(images, self.device, f"{self.dataset.name}'s {name} images")
        return self._parts[name]


def _identity(dataset: Dataset) -> tuple[Any, ...]:
    extra = 0 if dataset.extra is None else len(dataset.extra)
    return dataset.sha256, dataset.image_shape, len(dataset.train), len(dataset.test), extra


def _upload(images: np.ndarray, device: torch.device, what: str) -> Tensor:
    """Images as a tensor on the device, a chunk at a time. Raises UserError where they do not fit into its memory."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise TypeError(f"{what} must be uint8 [N, C, H, W], not {images.dtype} {list(images.shape)}")
    if device.type == "cpu":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable.*")  # nobody writes: a map is read-only
            return torch.from_numpy(np.ascontiguousarray(images))
    try:
        target = torch.empty(images.shape, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError as error:
        need = f"{images.nbytes / 2**30:.1f} GiB"
        hint = "use fewer images (data.limit), or fewer trials per GPU (resources.gpu)"
        raise UserError(Problem(f"{what} need {need}, more than is free on {device}", "data", hint=hint)) from error
    rows = max(1, _CHUNK_BYTES // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images), rows):
        target[start : start + rows] = torch.from_numpy(np.array(images[start : start + rows]))
    return target


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
        """The next `count` positions, [count] int64. More than the pool holds is fine."""
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


@dataclass
class _Source:
    """One stream: its order, the labels it shows, and the generators of each of its views."""

    views: tuple[str, ...]
    size: int
    order: Order
    y: Tensor  # by position
    extra: bool  # whether the pool reaches beyond the training part
    generators: list[tuple[torch.Generator, torch.Generator]] = field(default_factory=list)  # (device, host) per view


class Batches:
    """What a trial trains on, step by step, and the images it is evaluated on.

    views, sizes: which views of which streams, and how many images a step (`Method.views`, `Method.stream_sizes`).
    seed: of the axis "order". meta_source: where the meta stream comes from: "training" (a fixed draw of at most
    `meta_set_size` labelled images, which stay training images), "held_out" (the validation part) or "unlabelled",
    from which `meta_set_size` are drawn likewise; None = all. images: a DeviceImages to go on using; one that does not
    fit is left alone. augment: instead of the dataset's. channels_last: memory format of views; None = on CUDA.

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
        self.augment = augment or dataset.augment
        self.images = images if images is not None and images.fits(dataset, device) else DeviceImages(dataset, device)
        cuda = self.device.type == "cuda"
        self._format = torch.channels_last if (cuda if channels_last is None else channels_last) else None
        self._pool: list[Operation] = operations(self.augment)
        self._prepare_normalisation()
        self._prepare_labels(dataset, plan)
        pools = {
            "labelled": plan.labelled,
            "unlabelled": plan.unlabelled,
            "meta": _meta_set(plan, meta_set_size, meta_source, seed),
        }
        given = {"labelled": True, "unlabelled": False, "meta": meta_source != "unlabelled"}
        self._sources: dict[str, _Source] = {}
        for name, pool in pools.items():
            asked = tuple(getattr(views, name))
            if name == "labelled" or (asked and sizes.get(name, 0)):
                self._sources[name] = self._source(name, asked, sizes.get(name, 0), pool, given[name], dataset)

    def _prepare_normalisation(self) -> None:
        stats = self.images.statistics
        mean = torch.tensor(stats.mean, dtype=torch.float32, device=self.device)
        self._mean = mean[:, None, None]
        self._scale = torch.tensor(stats.std, dtype=torch.float32, device=self.device).reciprocal()[:, None, None]
        grey = GREY if len(stats.mean) == 3 else tuple(round(m) for m in stats.mean)
        self._fill = torch.tensor(grey, dtype=torch.uint8, device=self.device)

    def _prepare_labels(self, dataset: Dataset, plan: LabelPlan) -> None:
        count = len(dataset.train) + (0 if dataset.extra is None else len(dataset.extra))
        self._none = torch.full((count,), -1, dtype=torch.int64, device=self.device)
        self._given, self._true = self._none.clone(), self._none.clone()
        self._given[: len(plan.given)] = torch.from_numpy(plan.given.astype(np.int64)).to(self.device)
        if plan.true is not None:
            self._true[: len(plan.true)] = torch.from_numpy(plan.true.astype(np.int64)).to(self.device)

    def _source(
        self, name: str, views: tuple[str, ...], size: int, pool: np.ndarray, given: bool, dataset: Dataset
    ) -> _Source:
        wrong = [view for view in views if view not in VIEWS]
        if wrong:
            raise ValueError(f"no such view: {wrong[0]!r}; a view is one of {', '.join(VIEWS)}")
        if not len(pool):
            hint = "python -m platform.sweep SPACE.yaml --dry-run shows how many images each stream has"
            raise UserError(Problem(f"no image is left for the {name} stream of this method", "labels", hint=hint))
        if name == "meta" and size > len(pool):
            message = f"a meta batch of {size} images is larger than its meta set of {len(pool)}"
            hint = (
                f"at most {len(pool)}; or draw the meta set from more images (meta_source: unlabelled, meta_set_size)"
            )
            raise UserError(Problem(message, "meta_batch_size", hint=hint))
        positions = torch.from_numpy(np.asarray(pool, dtype=np.int64)).to(self.device)
        source = _Source(
            views=views,
            size=size,
            order=Order(positions, self._generator(self.device, name, "order")),
            y=self._given if given else self._none,
            extra=bool(np.max(pool) >= len(dataset.train)),
        )
        seen: Counter[str] = Counter()
        for view in views:  # by name and occurrence: another order of the same views draws the same images
            labels = (name, view, seen[view])
            host = self._generator(torch.device("cpu"), *labels, "host")
            source.generators.append((self._generator(self.device, *labels), host))
            seen[view] += 1
        return source

    def _generator(self, device: torch.device, *names: str | int) -> torch.Generator:
        return torch.Generator(device).manual_seed(derive_seed(self.seed, "batches", *names))

    # -- training ----------------------------------------------------------------------------------------------------

    def next(self, step: int, steps: int) -> Batch:
        """The next batch. Streams are endless; `step` and `steps` are only passed on."""
        streams = {name: self._stream(source) for name, source in self._sources.items()}
        return Batch(
            labelled=streams["labelled"],
            unlabelled=streams.get("unlabelled"),
            meta=streams.get("meta"),
            step=step,
            progress=step / steps,
        )

    def _stream(self, source: _Source) -> Stream:
        index = source.order.take(source.size)
        images = self.images.take(index, source.extra)
        views = tuple(
            self.normalise(self._view(name, images, device, host))
            for name, (device, host) in zip(source.views, source.generators, strict=True)
        )
        return Stream(source.views, views, y=source.y[index], true=self._true[index], index=index)

    def _view(self, name: str, images: Tensor, generator: torch.Generator, host: torch.Generator) -> Tensor:
        if name == "weak":
            return weak(images, self.augment, generator)
        if name == "strong":
            return strong(images, self.augment, self._pool, self._fill, generator, host)
        return images

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float32 with the training images' channel mean 0 and deviation 1."""
        if self._format is not None:
            images = images.contiguous(memory_format=self._format)
        return images.float().sub_(self._mean).mul_(self._scale)

    def labelled_images(self) -> LabelledTrainingImages:
        """The images of the labelled stream by position, for a method that looks at all of them."""
        index = self._sources["labelled"].order.pool
        return LabelledTrainingImages(self, index, self._given[index])

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
        return {
            name: {
                "order": source.order.state_dict(),
                "views": source.views,
                "generators": [(device.get_state(), host.get_state()) for device, host in source.generators],
            }
            for name, source in self._sources.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError where the state is of other streams or views."""
        ours = {name: tuple(source.views) for name, source in self._sources.items()}
        theirs = {name: tuple(saved["views"]) for name, saved in state.items()}
        if ours != theirs:
            raise ValueError(f"the saved batches have views {theirs}, this trial asks for {ours}")
        for name, source in self._sources.items():
            source.order.load_state_dict(state[name]["order"])
            for (device, host), (on_device, on_host) in zip(source.generators, state[name]["generators"], strict=True):
                device.set_state(on_device.cpu())
                host.set_state(on_host.cpu())


@dataclass
class LabelledTrainingImages:
    """Implements methods.base.LabelledImages: draws from the generator given, never from the streams' own."""

    batches: Batches
    index: Tensor
    y: Tensor

    def view(self, index: Tensor, name: str, generator: torch.Generator) -> Tensor:
        """[N, C, H, W] normalised views; of a strong one, the host's draws come from `generator` too (one wait)."""
        host = generator
        if name == "strong" and generator.device.type != "cpu":
            seed = torch.randint(2**62, (), generator=generator, device=generator.device)
            host = torch.Generator().manual_seed(int(seed))
        return self.batches.normalise(self.batches._view(name, self.batches.images.take(index), generator, host))


def _meta_set(plan: LabelPlan, size: int | None, source: str, seed: int) -> np.ndarray:
    """Positions of the meta stream: all of its source, or a fixed draw of at most `size`."""
    pools = {"training": plan.labelled, "held_out": plan.val, "unlabelled": plan.unlabelled}
    if source not in pools:
        raise ValueError(f"no such source of a meta set: {source!r}; one of {', '.join(pools)}")
    pool = np.asarray(pools[source])
    if size is None or size >= len(pool):
        return pool
    chosen = np.random.default_rng(derive_seed(seed, "batches", "meta", "set")).permutation(len(pool))[:size]
    return pool[np.sort(chosen)]
