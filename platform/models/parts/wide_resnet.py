"""Wide residual networks as the semi-supervised literature runs them (Zagoruyko & Komodakis, 2016, arXiv 1605.07146).

The variant of FixMatch, TorchSSL and USB: LeakyReLU 0.1, BN momentum 0.001 and eps 0.001, a first convolution with bias
and none in the blocks, Xavier-normal head with zero bias; the first block activates before the residual, so that its
shortcut sees the activated input (docs/layermatch.md, section 5, "Backbone facts": 1.468 M parameters for 28-2
at K=10).

Our reading: the first block of every group convolves the *activated* input, as in FixMatch's TensorFlow original and in
USB's later versions. The PyTorch ports in between convolve the raw input in groups 2 and 3, which leaves two BN layers
without a gradient; the parameter count is the same.
"""

from __future__ import annotations

from torch import Tensor, nn

from platform.models.parts.backbone import Backbone, he_and_xavier

__all__ = ["WideResNet"]

SLOPE = 0.1


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=0.001, eps=0.001)


class WideBlock(nn.Module):
    """BN, LeakyReLU, 3x3, BN, LeakyReLU, 3x3, plus the shortcut: 1x1 where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int, activate_before_residual: bool) -> None:
        super().__init__()
        self.bn1 = _norm(channels)
        self.act = nn.LeakyReLU(SLOPE, inplace=True)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn2 = _norm(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out or stride != 1 else None
        self.activate_before_residual = activate_before_residual and self.shortcut is not None

    def forward(self, x: Tensor) -> Tensor:
        activated = self.act(self.bn1(x))
        residual = activated if self.activate_before_residual else x
        if self.shortcut is not None:
            residual = self.shortcut(residual)
        return residual + self.conv2(self.act(self.bn2(self.conv1(activated))))


class WideResNet(Backbone):
    """WRN-`depth`-`width`. Features are the D = 64 * width channels of the last group, activated and averaged."""

    stages = ("stem", "group1", "group2", "group3", "norm")

    def __init__(self, depth: int, width: int, in_channels: int, num_classes: int) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth must be 6 n + 4, got {depth}")
        channels = [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(in_channels, channels[0], 3, 1, 1, bias=True)
        self.group1 = self._group(blocks, channels[0], channels[1], 1, activate=True)
        self.group2 = self._group(blocks, channels[1], channels[2], 2, activate=False)
        self.group3 = self._group(blocks, channels[2], channels[3], 2, activate=False)
        self.norm = nn.Sequential(_norm(channels[3]), nn.LeakyReLU(SLOPE, inplace=True))
        self.head = nn.Linear(channels[3], num_classes)
        he_and_xavier(self)

    @staticmethod
    def _group(blocks: int, channels: int, out: int, stride: int, activate: bool) -> nn.Sequential:
        first = WideBlock(channels, out, stride, activate)
        return nn.Sequential(first, *(WideBlock(out, out, 1, False) for _ in range(blocks - 1)))

    def features(self, x: Tensor) -> Tensor:
        x = self.norm(self.group3(self.group2(self.group1(self.stem(x)))))
        return x.mean((2, 3))
