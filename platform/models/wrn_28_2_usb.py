"""wrn_28_2_usb: USB's WRN-28-2, D = 128, 1,467,434 parameters at 3 channels and 10 classes."""

from __future__ import annotations

from platform.models.parts.wide_resnet import WideResNet


def build(image_shape: tuple[int, int, int], num_classes: int) -> WideResNet:
    """Any size from 8 x 8; meant for 32 x 32."""
    return WideResNet(28, 2, image_shape[0], num_classes, usb=True)
