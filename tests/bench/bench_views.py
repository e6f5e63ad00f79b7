"""How long do the strong views of 448 images take, and what would the two usual ways take?

    OMP_NUM_THREADS=1 python -m tests.bench.bench_views [--repeats N] [--device cpu|cuda] [--clock wall|process]

Side by side, on the same images, in turn, so that whatever else the machine does meets all of them alike:
    shares    platform.data.augment.strong: each operation on its share of the batch
    select    the same operations, each computed on the whole batch, one picked per image
    pillow    Pillow, one image after another, as a data loader's worker does (without its conversion to tensors)
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from platform.data.augment import cutout, operations, strong, weak
from platform.data.augment_ops import OPERATIONS
from platform.data.dataset import Augment
from tests.data.test_augment import PILLOW, digits, photographs

IMAGES = 448
KINDS: dict[str, tuple[Callable[[], Tensor], Augment]] = {
    "32x32x3": (lambda: photographs(32, 32, count=IMAGES), Augment()),
    "8x8x1": (lambda: digits(8, count=IMAGES), Augment(flip=False, pad=1, cutout=0.25)),
}


def by_selection(images: Tensor, augment: Augment, fill: Tensor, generator: torch.Generator) -> Tensor:
    """The strong view, all operations computed on all images."""
    images = weak(images, augment, generator)
    pool = operations(augment)
    for _ in range(augment.num_ops):
        choice = torch.randint(len(pool), (len(images),), generator=generator, device=images.device)
        uniform = torch.rand(len(images), generator=generator, device=images.device)
        every = torch.stack([operation(images, operation.magnitude(uniform)) for operation in pool])
        images = every[choice, torch.arange(len(images), device=images.device)]
    return cutout(images, augment.cutout, fill, generator)


def by_pillow(images: list[Image.Image], augment: Augment, draw: random.Random) -> list[Image.Image]:
    """The strong view of images that are already padded by reflection."""
    names = list(augment.strong_ops or OPERATIONS)
    views = []
    for padded in images:
        width, height = padded.width - 2 * augment.pad, padded.height - 2 * augment.pad
        x, y = draw.randint(0, 2 * augment.pad), draw.randint(0, 2 * augment.pad)
        image = padded.crop((x, y, x + width, y + height))
        if augment.flip and draw.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        for name in draw.choices(names, k=augment.num_ops):
            operation = OPERATIONS[name]
            image = PILLOW[name](image, draw.uniform(operation.low, operation.high))
        half = draw.uniform(0, augment.cutout) * width / 2
        cx, cy = draw.uniform(0, width), draw.uniform(0, height)
        left, top = round(max(0, cx - half)), round(max(0, cy - half))
        right, bottom = round(min(width, cx + half)), round(min(height, cy + half))
        image.paste((125, 123, 114) if image.mode == "RGB" else 120, (left, top, right, bottom))
        views.append(image)
    return views


def contenders(images: Tensor, augment: Augment, device: str) -> dict[str, Callable[[], object]]:
    pad = augment.pad
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode="reflect").transpose(0, 2, 3, 1)
    pictures = [Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image) for image in padded]
    on_device, fill = images.to(device), torch.full(images.shape[1:2], 120, dtype=torch.uint8, device=device)
    generator, host = torch.Generator(device).manual_seed(0), torch.Generator().manual_seed(0)
    pool, draw = operations(augment), random.Random(0)
    return {
        "shares": lambda: strong(on_device, augment, pool, fill, generator, host),
        "select": lambda: by_selection(on_device, augment, fill, generator),
        "pillow": lambda: by_pillow(pictures, augment, draw),
    }


def measure(
    functions: dict[str, Callable[[], object]], repeats: int, device: str, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Milliseconds of each call, after two calls to warm up, the functions taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(-2, repeats):
        for name, function in functions.items():
            begin = clock()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn >= 0:
                taken[name].append(1e3 * (clock() - begin))
    return taken


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:8.2f}  [{low:.2f}, {high:.2f}]"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Time of 448 strong views; see the head of the file.")
    parser.add_argument("--repeats", type=int, default=30, help="timed calls of each (default 30)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--clock",
        choices=("wall", "process"),
        default="wall",
        help="process: CPU time, for a machine that others use too",
    )
    options = parser.parse_args(arguments)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    print(
        f"strong views of {IMAGES} images on {options.device}: torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s), {os.cpu_count()} cores, n = {options.repeats}, {options.clock} clock; "
        "median [quartiles], ratio to shares of the same turn"
    )
    print(f"{'images':10}{'way':8}{'ms':>8}{'':24}{'times shares':>14}")
    for kind, (make, augment) in KINDS.items():
        taken = measure(contenders(make(), augment, options.device), options.repeats, options.device, clock)
        for name, times in taken.items():
            ratios = [time / ours for time, ours in zip(times, taken["shares"], strict=True)]
            print(f"{kind:10}{name:8}{spread(times):32}{spread(ratios):>24}")


if __name__ == "__main__":
    main()
