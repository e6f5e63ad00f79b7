"""The fourteen operations of the strong view, vectorised over images with a magnitude each, as Pillow does them.

Every operation takes uint8 images [N, C, H, W] (C is 1 or 3) and float32 magnitudes [N], and returns uint8 images of
the same shape. None of them waits for the host or makes a shape that depends on the data. Ranges: USB's RandAugment,
docs/semi_supervised.md, section 7.0. Rounding follows Pillow, which works in whole numbers or truncates, so pixels
are equal to Pillow's; in `autocontrast` alone they may differ by one level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["OPERATIONS", "Operation", "affine"]


@dataclass(frozen=True)
class Operation:
    """One operation: magnitudes are uniform in [low, high). Exactly one of `pixels` and `matrix` is set.

    pixels: (images [N, C, H, W] uint8, magnitude [N]) -> images.
    matrix: (magnitude [N], height, width) -> six [N] coefficients that map output to input positions, as in
    Pillow's `Image.transform(AFFINE)`; geometric operations side by side then share one gather.
    """

    low: float
    high: float
    pixels: Callable[[Tensor, Tensor], Tensor] | None = None
    matrix: Callable[[Tensor, int, int], tuple[Tensor, ...]] | None = None

    def magnitude(self, uniform: Tensor) -> Tensor:
        """Magnitudes from draws of U(0, 1)."""
        return uniform * (self.high - self.low) + self.low

    def __call__(self, images: Tensor, magnitude: Tensor) -> Tensor:
        if self.pixels is not None:
            return self.pixels(images, magnitude)
        return affine(images, self.coefficients(magnitude, *images.shape[-2:]))

    def coefficients(self, magnitude: Tensor, height: int, width: int) -> Tensor:
        """[6, N], for `affine`, in float64 (but on MPS, which has none): Pillow's own precision."""
        assert self.matrix is not None
        exact = magnitude if magnitude.device.type == "mps" else magnitude.double()
        return torch.stack(self.matrix(exact, height, width))


# -- pixel values ------------------------------------------------------------------------------------------------------


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _luminance(x: Tensor) -> Tensor:
    """[N, 3, H, W] float in 0..255 -> [N, 1, H, W], Pillow's "L": whole numbers below 2**24, exact in float32."""
    weighted = x[:, 0:1] * 19595.0
    weighted.add_(x[:, 1:2], alpha=38470.0).add_(x[:, 2:3], alpha=7471.0).add_(32768.0)
    return weighted.div_(65536.0).floor_()


def _blend(base: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """Pillow's Image.blend: base + factor (x - base), truncated. `x` is overwritten."""
    return x.sub_(base).mul_(_per_image(factor)).add_(base).to(torch.uint8)


def identity(images: Tensor, magnitude: Tensor) -> Tensor:
    return images


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return images.float().mul_(_per_image(factor)).to(torch.uint8)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    """Blend towards the grey image; a grey image is returned unchanged."""
    if images.shape[1] == 1:
        return images
    x = images.float()
    return _blend(_luminance(x), x, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend towards the image's mean luminance, rounded."""
    x = images.float()
    grey = _luminance(x) if images.shape[1] == 3 else x
    mean = grey.mean(dim=(1, 2, 3), keepdim=True).add_(0.5).floor_()
    return _blend(mean, x, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend towards Pillow's SMOOTH: (box of 3x3 + 4 centre) / 13, rounded; border pixels are unchanged."""
    if min(images.shape[-2:]) < 3:
        return images
    x = images.float()
    inner = x[:, :, 1:-1, 1:-1]
    rows = x[:, :, :-2] + x[:, :, 1:-1]
    rows.add_(x[:, :, 2:])
    smooth = rows[..., :-2] + rows[..., 1:-1]
    smooth.add_(rows[..., 2:]).add_(inner, alpha=4.0).add_(6.5).div_(13.0).floor_()
    out = images.clone()
    out[:, :, 1:-1, 1:-1] = _blend(smooth, inner, factor)
    return out


def autocontrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Stretch each channel to 0..255. Division of whole numbers, where Pillow's products may end one level lower."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = low == high
    low = low.masked_fill(flat, 0)
    span = (high - low).masked_fill(flat, 255)
    return (images - low).float().mul_(255.0).div_(span).to(torch.uint8)


def equalize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Flatten each channel's histogram: a table of 256 levels per image and channel."""
    n, channels, height, width = images.shape
    if height * width < 256:
        return images  # the step below is 0 for every image of at most 255 pixels, and Pillow then changes nothing
    levels = images.reshape(n * channels, height * width).long()
    counts = torch.zeros(n * channels, 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.int32))
    brightest = levels.amax(dim=1, keepdim=True)
    step = (height * width - counts.gather(1, brightest)).div_(255, rounding_mode="floor")
    below = counts.cumsum(dim=1, dtype=torch.int32).sub_(counts)
    divisor = step.clamp(min=1)
    table = below.add_(divisor.div(2, rounding_mode="floor")).div_(divisor, rounding_mode="floor").clamp_(max=255)
    table = torch.where(step > 0, table, torch.arange(256, dtype=torch.int32, device=images.device))
    return table.to(torch.uint8).gather(1, levels).view_as(images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep floor(bits) leading bits of each value."""
    dropped = 8 - bits.to(torch.int32)
    mask = torch.bitwise_left_shift(torch.full_like(dropped, 255), dropped).bitwise_and_(255).to(torch.uint8)
    return images & _per_image(mask)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values at or above the threshold."""
    inverted = images.float() >= _per_image(threshold)
    return inverted.view(torch.uint8).neg().bitwise_xor_(images)  # true is 1, -1 is 255 as uint8: all bits flip


# -- geometry ----------------------------------------------------------------------------------------------------------


def affine(images: Tensor, matrix: Tensor) -> Tensor:
    """out[y, x] = in[floor(d x' + e y' + f), floor(a x' + b y' + c)], x' = x + 1/2, y' = y + 1/2; black outside.

    matrix: [6, N] float, rows a to f. Positions are whole numbers of 2**-16 pixels, as in Pillow's own loop
    for nearest neighbours.
    """
    n, channels, height, width = images.shape
    a, b, c, d, e, f = matrix.unbind()
    fixed = torch.stack([a, b, c + 0.5 * (a + b), d, e, f + 0.5 * (d + e)]).mul_(65536.0).add_(0.5).floor_()
    a, b, c, d, e, f = fixed.to(torch.int32)[:, :, None, None].unbind()
    y = torch.arange(height, dtype=torch.int32, device=images.device)[None, :, None]
    x = torch.arange(width, dtype=torch.int32, device=images.device)[None, None, :]
    column = (a * x + c + b * y).bitwise_right_shift_(16)
    row = (d * x + f + e * y).bitwise_right_shift_(16)
    inside = (column.clamp(0, width - 1) == column).logical_and_(row.clamp(0, height - 1) == row)
    source = row.mul_(width).add_(column).mul_(inside).long().view(n, 1, height * width)
    moved = images.reshape(n, channels, height * width).gather(2, source.expand(-1, channels, -1))
    return moved.view_as(images).mul_(inside[:, None])


def _constants(like: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(like), torch.ones_like(like)


def rotate(degrees: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    """Rotation counter-clockwise about the middle of the image, as `Image.rotate`."""
    angle = torch.deg2rad(-degrees)
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    return cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y


def shear_x(amount: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    zero, one = _constants(amount)
    return one, amount, zero, zero, one, zero


def shear_y(amount: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    zero, one = _constants(amount)
    return one, zero, zero, amount, one, zero


def translate_x(share: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    zero, one = _constants(share)
    return one, zero, share * width, zero, one, zero


def translate_y(share: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
    zero, one = _constants(share)
    return one, zero, zero, zero, one, share * height


OPERATIONS: dict[str, Operation] = {
    "autocontrast": Operation(0.0, 1.0, pixels=autocontrast),
    "brightness": Operation(0.05, 0.95, pixels=brightness),
    "colour": Operation(0.05, 0.95, pixels=colour),
    "contrast": Operation(0.05, 0.95, pixels=contrast),
    "equalize": Operation(0.0, 1.0, pixels=equalize),
    "identity": Operation(0.0, 1.0, pixels=identity),
    "posterize": Operation(4.0, 8.0, pixels=posterize),
    "rotate": Operation(-30.0, 30.0, matrix=rotate),
    "sharpness": Operation(0.05, 0.95, pixels=sharpness),
    "shear_x": Operation(-0.3, 0.3, matrix=shear_x),
    "shear_y": Operation(-0.3, 0.3, matrix=shear_y),
    "solarize": Operation(0.0, 256.0, pixels=solarize),
    "translate_x": Operation(-0.3, 0.3, matrix=translate_x),
    "translate_y": Operation(-0.3, 0.3, matrix=translate_y),
}
"""The pool, by the names that `Augment.strong_ops` uses."""
