"""The uint8 images of a dataset on a device, uploaded once, and the channel statistics they are normalised with."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from platform.core.errors import Problem, UserError
from platform.data.dataset import Dataset

__all__ = ["ChannelStatistics", "DeviceImages", "channel_statistics"]

_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of each channel, in levels (0 to 255)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def channel_statistics(images: np.ndarray, largest: int = 10_000, largest_bytes: int = 2**28) -> ChannelStatistics:
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
    return ChannelStatistics(tuple(mean.tolist()), tuple(np.sqrt(np.maximum(square - mean**2, 1.0)).tolist()))


class DeviceImages:
    """The images of a dataset on a device, each part uploaded once, when it is first used.

    On a CPU the parts are the dataset's memory maps themselves: nothing is copied and all processes share the pages.
    Give the object of one trial to the next (`Batches(..., images=previous.images)`) to upload only once.
    """

    def __init__(self, dataset: Dataset, device: torch.device | str) -> None:
        self.dataset, self.device = dataset, torch.device(device)
        self.statistics = channel_statistics(dataset.train.images)
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
    """Images as a tensor on the device, copied in chunks. Raises UserError where they do not fit into its memory."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise TypeError(f"{what} must be uint8 [N, C, H, W], not {images.dtype} {list(images.shape)}")
    if device.type == "cpu":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable.*")  # a memory map is read-only and never written
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
