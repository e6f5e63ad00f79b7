"""wrn_28_8_usb: USB's WRN-28-8, D = 512, 23,400,260 parameters at 3 channels and 100 classes."""

from __future__ import annotations

from platform.models.parts.wide_resnet import WideResNet


def build(image_shape: tuple[int, int, int], num_classes: int) -> WideResNet:
    """Any size from 8 x 8; meant for 32 x 32."""
    return WideResNet(28, 8, image_shape[0], num_classes, usb=True)
