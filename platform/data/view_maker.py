"""Plain, weak and strong views of uint8 images by name, normalised to the training images' channel statistics."""

from __future__ import annotations

import torch
from torch import Tensor

from platform.data.augment import GREY, operations, strong, weak
from platform.data.dataset import Augment
from platform.data.device_images import ChannelStatistics

__all__ = ["VIEW_NAMES", "ViewMaker"]

VIEW_NAMES = ("plain", "weak", "strong")


class ViewMaker:
    """Makes views where the images lie, and normalises them.

    channels_last: memory format of the views. Raises UserError for a name in `augment.strong_ops` that is no operation.
    """

    def __init__(
        self, statistics: ChannelStatistics, augment: Augment, device: torch.device, channels_last: bool
    ) -> None:
        self.augment = augment
        self._pool = operations(augment)
        self._format = torch.channels_last if channels_last else None
        mean = torch.tensor(statistics.mean, dtype=torch.float32, device=device)
        self._mean = mean[:, None, None]
        self._scale = torch.tensor(statistics.std, dtype=torch.float32, device=device).reciprocal()[:, None, None]
        grey = GREY if len(statistics.mean) == 3 else tuple(round(m) for m in statistics.mean)
        self._fill = torch.tensor(grey, dtype=torch.uint8, device=device)

    def view(self, name: str, images: Tensor, generator: torch.Generator, host: torch.Generator) -> Tensor:
        """The normalised view `name` of uint8 images [N, C, H, W]. `generator` is on their device, `host` on the CPU.

        A strong view also draws from `host`; see platform.data.augment.strong.
        """
        if name == "weak":
            images = weak(images, self.augment, generator)
        elif name == "strong":
            images = strong(images, self.augment, self._pool, self._fill, generator, host)
        return self.normalise(images)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] -> float32 with the training images' channel mean 0 and deviation 1."""
        if self._format is not None:
            images = images.contiguous(memory_format=self._format)
        return images.float().sub_(self._mean).mul_(self._scale)
