"""preact_resnet18: PreAct ResNet-18 of the CIFAR noise literature (He et al., 2016, arXiv 1603.05027), D = 512.

The network of DivideMix and of CLID-MU's release (docs/clid_mu.md, section 5.1): a 3x3 stem with BN and ReLU, groups of
64-128-256-512 channels, ResNet-18's 2 blocks in each group, every shortcut of the activated input, no final BN and ReLU
before the average pool, so that features may be negative; PyTorch's default initialisation.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from platform.models.parts.backbone import Backbone


class PreactBlock(nn.Module):
    """BN, ReLU, 3x3, BN, ReLU, 3x3, plus the activated input, through a 1x1 convolution where the shape changes.

    He et al. add the raw input where the shape does not change; the code of the noise literature does not.
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if stride != 1 or channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        activated = relu(self.bn1(x))
        residual = activated if self.shortcut is None else self.shortcut(activated)
        return residual + self.conv2(relu(self.bn2(self.conv1(activated))))


class PreActResNet18(Backbone):
    """Stem, four groups of two blocks, global average, linear head."""

    stages = ("stem", "group1", "group2", "group3", "group4")

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.group1 = nn.Sequential(PreactBlock(64, 64, 1), PreactBlock(64, 64, 1))
        self.group2 = nn.Sequential(PreactBlock(64, 128, 2), PreactBlock(128, 128, 1))
        self.group3 = nn.Sequential(PreactBlock(128, 256, 2), PreactBlock(256, 256, 1))
        self.group4 = nn.Sequential(PreactBlock(256, 512, 2), PreactBlock(512, 512, 1))
        self.head = nn.Linear(512, num_classes)

    def features(self, x: Tensor) -> Tensor:
        x = self.group4(self.group3(self.group2(self.group1(self.stem(x)))))
        return x.mean((2, 3))


def build(image_shape: tuple[int, int, int], num_classes: int) -> PreActResNet18:
    """Any size from 8 x 8; meant for 32 x 32."""
    return PreActResNet18(image_shape[0], num_classes)
