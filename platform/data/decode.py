"""Encoded images to one .npy file of uint8 [N, C, H, W], in parallel.

Threads suffice: Pillow releases the interpreter's lock while it decodes. The file is written by positioned writes and
not through a memory map: on a full disk a write is an error that can be reported, a memory map a killed process.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from platform.core.errors import Problem, UserError
from platform.core.files import atomic
from platform.data.dataset import Image, Images

Channels = Literal["auto", "rgb", "gray"]
Tick = Callable[[int], None]
_CHUNK = 256
_GRAY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F"}


class _NeedsColour(Exception):
    """A colour image among images taken for gray."""


@dataclass
class Decoded:
    """`bad` maps the position of an image that cannot be read to the reason; such rows of the file are zero."""

    shape: tuple[int, int, int, int]
    bad: dict[int, str] = field(default_factory=dict)


class NpyFile:
    """An .npy array [N, C, H, W] of uint8 that threads fill at their own rows."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._handle = open(path, "wb")
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._handle, header)
        self._handle.flush()
        self._start = self._handle.tell()
        self._row = math.prod(shape[1:])

    def put(self, row: int, images: np.ndarray) -> None:
        """Write `images` [n, C, H, W] as rows `row` to row + n."""
        data = memoryview(np.ascontiguousarray(images).data).cast("B")
        position = self._start + row * self._row
        while len(data):
            done = os.pwrite(self._handle.fileno(), data, position)
            data, position = data[done:], position + done

    def close(self) -> None:
        os.fsync(self._handle.fileno())
        self._handle.close()


def decode(
    images: Images,
    ids: Sequence[str],
    path: Path,
    size: int | None,
    channels: Channels,
    tick: Tick,
) -> Decoded:
    """Write `images` to the .npy file `path`. Unreadable ones are returned, not raised.

    Raises UserError where `size` is None and the images differ in shape, or where none can be read.
    """
    if isinstance(images, np.ndarray) and size is None:
        return _copy(images, path, tick)
    gray = channels == "gray" or (channels == "auto" and _looks_gray(images))
    try:
        return _decode(images, ids, path, size, gray, channels == "auto", tick)
    except _NeedsColour:
        return _decode(images, ids, path, size, False, False, tick)


def _copy(images: np.ndarray, path: Path, tick: Tick) -> Decoded:
    if images.ndim == 3:
        images = images[:, None]
    file = NpyFile(path, images.shape)
    try:
        for start in range(0, len(images), 4096):
            file.put(start, images[start : start + 4096])
            tick(len(images[start : start + 4096]))
    finally:
        file.close()
    return Decoded(images.shape)  # type: ignore[arg-type]


def _decode(
    images: Images,
    ids: Sequence[str],
    path: Path,
    size: int | None,
    gray: bool,
    may_turn: bool,
    tick: Tick,
) -> Decoded:
    shape = _common_shape(images, ids, size, gray)
    result = Decoded((len(images), *shape))
    odd: list[tuple[int, tuple[int, ...]]] = []
    file = NpyFile(path, result.shape)

    def work(start: int) -> None:
        stop = min(start + _CHUNK, len(images))
        block = np.zeros((stop - start, *shape), dtype=np.uint8)
        for i in range(start, stop):
            try:
                image = _open(images[i])
                if gray and may_turn and not _is_gray(image):
                    raise _NeedsColour
                pixels = _pixels(image, size, gray)
            except _NeedsColour:
                raise
            except Exception as error:  # Pillow raises nearly anything on broken files
                result.bad[i] = _reason(error)
                continue
            if pixels.shape == shape:
                block[i - start] = pixels
            else:
                odd.append((i, pixels.shape))
        file.put(start, block)
        tick(stop - start)

    try:
        with ThreadPoolExecutor(max_workers=cores()) as pool:
            tasks = [pool.submit(work, start) for start in range(0, len(images), _CHUNK)]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if odd:
            _raise_shapes(shape, odd, ids)
    finally:
        file.close()
    return result


def drop_rows(path: Path, shape: tuple[int, ...], keep: np.ndarray) -> tuple[int, ...]:
    """Rewrite an .npy file with the rows `keep` only; returns the new shape."""
    old = np.load(path, mmap_mode="r")
    with atomic(path, sync=False) as temporary:
        file = NpyFile(temporary, (len(keep), *shape[1:]))
        try:
            for start in range(0, len(keep), 1024):
                file.put(start, old[keep[start : start + 1024]])
        finally:
            file.close()
    return (len(keep), *shape[1:])


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _open(item: Image) -> Pillow.Image:
    if item is None:
        raise ValueError("the row has no image")
    if isinstance(item, np.ndarray):
        return Pillow.fromarray(item[0] if item.shape[0] == 1 else item.transpose(1, 2, 0))
    image = Pillow.open(io.BytesIO(item) if isinstance(item, bytes) else item)
    image.load()
    return ImageOps.exif_transpose(image)


def _is_gray(image: Pillow.Image) -> bool:
    return image.mode in _GRAY_MODES


def _pixels(image: Pillow.Image, size: int | None, gray: bool) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip at 255
        image = Pillow.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    image = image.convert("L" if gray else "RGB")
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Pillow.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if gray else pixels.transpose(2, 0, 1)


def _common_shape(images: Images, ids: Sequence[str], size: int | None, gray: bool) -> tuple[int, int, int]:
    if size is not None:
        return (1 if gray else 3, size, size)
    reasons = []
    for i in range(len(images)):
        try:
            return _pixels(_open(images[i]), size, gray).shape  # type: ignore[return-value]
        except Exception as error:
            reasons.append(f"{ids[i]}: {_reason(error)}")
    listing = "\n".join(reasons[:20])
    raise UserError(Problem(f"none of the {len(images)} images can be read", "data.path", hint=listing))


def _looks_gray(images: Images) -> bool:
    """By up to 64 evenly spaced images; a colour image met later starts the decoding anew."""
    for i in np.unique(np.linspace(0, len(images) - 1, 64).astype(int)):
        try:
            if not _is_gray(_open(images[i])):
                return False
        except Exception:
            continue
    return True


def _raise_shapes(shape: tuple[int, ...], odd: list[tuple[int, tuple[int, ...]]], ids: Sequence[str]) -> None:
    listing = "\n".join(f"{ids[i]}: {s[2]} x {s[1]} pixels" for i, s in sorted(odd)[:20])
    raise UserError(
        Problem(
            f"{len(odd)} images are not {shape[2]} x {shape[1]} pixels like the first; all must have one shape",
            "data.image_size",
            hint=f"set data.image_size, for instance data.image_size={min(shape[1:])}\n{listing}",
        )
    )


def _reason(error: Exception) -> str:
    if isinstance(error, Pillow.UnidentifiedImageError):
        return "not an image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).partition("\n")[0] or type(error).__name__
