"""Weak and strong views of a batch of uint8 images, made where the images lie, without a loop over images.

Nothing here waits for the host, and shapes depend on shapes alone. A stage of the strong view shuffles the images and
gives every operation of the pool an (almost) equal share of the batch, so each operation is computed on its share only:
1/14 of the work of computing all and selecting. Each image's operation is uniform over the pool and independent between
stages; within one stage the shares of a batch are balanced.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from platform.core.errors import Problem, UserError, did_you_mean
from platform.data.augment_ops import OPERATIONS, Operation, affine
from platform.data.dataset import Augment

__all__ = ["GREY", "cutout", "operations", "shares", "strong", "weak"]

GREY = (125, 123, 114)
"""Colour of a cut square in an RGB image: USB's value, about the mean of CIFAR."""


def operations(augment: Augment) -> list[Operation]:
    """The pool of the strong view. Raises UserError for a name that is no operation."""
    names = augment.strong_ops or tuple(OPERATIONS)
    unknown = [name for name in names if name not in OPERATIONS]
    if unknown:
        raise UserError(
            *(
                Problem(f"no such operation: '{name}'", "strong_ops", hint=did_you_mean(name, OPERATIONS))
                for name in unknown
            )
        )
    # Geometric operations last: side by side, they share one gather.
    return sorted((OPERATIONS[name] for name in names), key=lambda operation: operation.matrix is not None)


def weak(images: Tensor, augment: Augment, generator: torch.Generator) -> Tensor:
    """Reflect-pad by `augment.pad`, crop at a random place, flip half of the images where `augment.flip`.

    images: [N, C, H, W] uint8 on the generator's device. The padded image is never built: the rows and columns
    of the crop are looked up in the image. A side of fewer than pad + 1 pixels is padded as far as reflection reaches.
    """
    n, channels, height, width = images.shape
    draws = torch.rand(3, n, 1, generator=generator, device=images.device)
    rows = _reflected(height, augment.pad, draws[0])
    columns = _reflected(width, augment.pad, draws[1])
    if augment.flip:
        columns = torch.where(draws[2] < 0.5, columns.flip(1), columns)
    source = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width)
    return images.reshape(n, channels, -1).gather(2, source.expand(-1, channels, -1)).view_as(images)


def _reflected(size: int, pad: int, uniform: Tensor) -> Tensor:
    """[N, 1] draws of U(0, 1) -> [N, size] positions in 0..size-1: a random crop of the reflect-padded line."""
    pad = min(pad, size - 1)
    start = (uniform * (2 * pad + 1)).long().clamp_(max=2 * pad) - pad
    position = (start + torch.arange(size, device=uniform.device)).abs_()
    return (size - 1) - (position - (size - 1)).abs_()


def strong(
    images: Tensor,
    augment: Augment,
    pool: list[Operation],
    fill: Tensor,
    generator: torch.Generator,
    host: torch.Generator,
) -> Tensor:
    """The weak view, then `augment.num_ops` operations per image drawn with replacement from `pool`, then cutout.

    images: [N, C, H, W] uint8. pool: of `operations`. fill: [C] uint8, colour of the cut square. `generator` draws on
    the images' device; `host`, on the CPU, decides which operations get one image more than others.
    """
    images = weak(images, augment, generator)
    n, device = len(images), images.device
    order = None
    for _ in range(augment.num_ops):
        shuffled = torch.randperm(n, generator=generator, device=device)
        uniform = torch.rand(n, generator=generator, device=device)
        images = _stage(images.index_select(0, shuffled), uniform, pool, shares(n, len(pool), host))
        order = shuffled if order is None else order[shuffled]
    if order is not None:
        images = torch.empty_like(images).index_copy_(0, order, images)
    return cutout(images, augment.cutout, fill, generator)


def shares(images: int, pool: int, host: torch.Generator) -> list[int]:
    """Number of images for each operation of the pool: images // pool, and one more for a random few."""
    each, left = divmod(images, pool)
    sizes = [each] * pool
    if left:
        for chosen in torch.randperm(pool, generator=host)[:left].tolist():
            sizes[chosen] += 1
    return sizes


def _stage(images: Tensor, uniform: Tensor, pool: list[Operation], sizes: list[int]) -> Tensor:
    """Apply each operation to its share: `sizes` consecutive images. Geometric ones are last and share one gather."""
    height, width = images.shape[-2:]
    parts, matrices = [], []
    ends = list(itertools.accumulate(sizes, initial=0))
    for operation, start, end in zip(pool, ends[:-1], ends[1:], strict=True):
        if start == end:
            continue
        magnitude = operation.magnitude(uniform[start:end])
        if operation.matrix is not None:
            matrices.append(operation.coefficients(magnitude, height, width))
        else:
            parts.append(operation(images[start:end], magnitude))
    if matrices:
        matrix = torch.cat(matrices, dim=1)
        parts.append(affine(images[len(images) - matrix.shape[1] :], matrix))
    return torch.cat(parts)


def cutout(images: Tensor, largest: float, fill: Tensor, generator: torch.Generator) -> Tensor:
    """Cover one square per image: side U(0, largest) * width, centre uniform in the image, clipped at its borders.

    A pixel is covered when its middle is. (USB moves a square at the left or upper border inwards and draws one pixel
    more; docs/semi_supervised.md, section 7.0 is followed here.)
    """
    if largest <= 0:
        return images
    n, _, height, width = images.shape
    draws = torch.rand(3, n, 1, generator=generator, device=images.device)
    half = draws[0] * (0.5 * largest * width)
    rows = (torch.arange(height, device=images.device) + 0.5 - draws[1] * height).abs_() < half
    columns = (torch.arange(width, device=images.device) + 0.5 - draws[2] * width).abs_() < half
    covered = (rows[:, None, :, None] & columns[:, None, None, :]).view(torch.uint8)
    # Sums of products of bytes: ten times as fast on a CPU as torch.where.
    return images.mul(1 - covered).add_(covered * fill[:, None, None])
