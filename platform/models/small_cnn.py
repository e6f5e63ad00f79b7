"""small_cnn: three convolutions for quick runs on small images, D = 128; 94,186 parameters at 1 channel and 10 classes.

A step over 300 digits of 8 x 8 pixels takes about 16 ms on one CPU core (tests/bench/bench_step.py measures it).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from platform.models.parts.backbone import Backbone, he_and_xavier


def _conv(channels: int, out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


class SmallCNN(Backbone):
    """Widths 32-64-128 with a 2x2 pool between. From 16 pixels on the stem has stride 2: cost grows with the area."""

    stages = ("stem", "stage1", "stage2")

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, *size = image_shape
        self.stem = nn.Sequential(*_conv(channels, 32, 2 if min(size) >= 16 else 1))
        self.stage1 = nn.Sequential(nn.MaxPool2d(2), *_conv(32, 64))
        self.stage2 = nn.Sequential(nn.MaxPool2d(2), *_conv(64, 128))
        self.head = nn.Linear(128, num_classes)
        he_and_xavier(self)

    def features(self, x: Tensor) -> Tensor:
        return self.stage2(self.stage1(self.stem(x))).mean((2, 3))


def build(image_shape: tuple[int, int, int], num_classes: int) -> SmallCNN:
    """Meant for 8 x 8 to 32 x 32; works from 4 x 4."""
    # Channels-last weights make the whole pass so: about 1.5 times faster on a CPU at these widths.
    return SmallCNN(image_shape, num_classes).to(memory_format=torch.channels_last)
