"""Wide residual networks as the semi-supervised literature runs them (Zagoruyko & Komodakis, 2016, arXiv 1605.07146).

All variants: LeakyReLU 0.1, BN momentum 0.001, a first convolution with bias and none in the blocks, Xavier-normal head
with zero bias; the first block activates before the residual, so that its shortcut sees the activated input
(docs/layermatch.md, section 5, "Backbone facts"). They differ in the first block of groups 2 and 3 and in BN's eps:

    FixMatch's TensorFlow original      convolves the activated input      eps 1e-3
    USB (commit 1ef4cbe)                convolves the raw input            eps 1e-5 in blocks, 1e-3 after the last

Left out: the biases of the original's convolutions in blocks, which the BN behind them takes out again; its uneven
padding at stride 2 (both paddings keep the size); the two BN layers of USB's whose output nothing reads, so that they
never get a gradient.
"""

from __future__ import annotations

from torch import Tensor, nn

from platform.models.parts.backbone import Backbone, he_and_xavier

__all__ = ["WideResNet"]

SLOPE = 0.1


def _norm(channels: int, eps: float = 0.001) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=0.001, eps=eps)


class WideBlock(nn.Module):
    """BN, LeakyReLU, 3x3, BN, LeakyReLU, 3x3, plus the shortcut: 1x1 where the shape changes. raw: without the first BN
    and LeakyReLU."""

    def __init__(
        self, channels: int, out: int, stride: int, activate_before_residual: bool, eps: float, raw: bool = False
    ) -> None:
        super().__init__()
        self.bn1 = None if raw else _norm(channels, eps)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn2 = _norm(out, eps)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out or stride != 1 else None
        self.activate_before_residual = activate_before_residual and self.shortcut is not None

    def forward(self, x: Tensor) -> Tensor:
        activated = x if self.bn1 is None else self.act(self.bn1(x))
        residual = activated if self.activate_before_residual else x
        if self.shortcut is not None:
            residual = self.shortcut(residual)
        return residual + self.conv2(self.act(self.bn2(self.conv1(activated))))


class WideResNet(Backbone):
    """WRN-`depth`-`width`. Features are the D = 64 * width channels of the last group, activated and averaged.

    usb: the variant of the USB benchmark instead of FixMatch's original.
    """

    stages = ("stem", "group1", "group2", "group3", "norm")

    def __init__(self, depth: int, width: int, in_channels: int, num_classes: int, usb: bool = False) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth must be 6 n + 4, got {depth}")
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(in_channels, channels[0], 3, 1, 1, bias=True)
        self.group1 = self._group(blocks, channels[0], channels[1], 1, activate=True, usb=usb)
        self.group2 = self._group(blocks, channels[1], channels[2], 2, activate=False, usb=usb)
        self.group3 = self._group(blocks, channels[2], channels[3], 2, activate=False, usb=usb)
        self.norm = nn.Sequential(_norm(channels[3]), nn.LeakyReLU(SLOPE, inplace=True))
        self.head = nn.Linear(channels[3], num_classes)
        he_and_xavier(self)

    @staticmethod
    def _group(blocks: int, channels: int, out: int, stride: int, activate: bool, usb: bool) -> nn.Sequential:
        eps = 1e-5 if usb else 1e-3
        first = WideBlock(channels, out, stride, activate, eps, raw=usb and not activate)
        return nn.Sequential(first, *(WideBlock(out, out, 1, False, eps) for _ in range(blocks - 1)))

    def features(self, x: Tensor) -> Tensor:
        x = self.norm(self.group3(self.group2(self.group1(self.stem(x)))))
        return x.mean((2, 3))
