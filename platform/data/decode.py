"""Decoding of images to one .npy file of uint8 [N, C, H, W], in parallel.

Threads suffice: Pillow releases the interpreter's lock while it decodes. The file is written by positioned writes and
not through a memory map: on a full disk a write is an error that can be reported, a memory map a killed process.
"""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps

from platform.core.errors import Problem, UserError
from platform.core.files import atomic, unreadable
from platform.data.dataset import Image, Images
from platform.data.threads import in_threads

Channels = Literal["auto", "rgb", "gray"]
Advance = Callable[[int], None]
_CHUNK, _CHUNK_BYTES = 256, 32 * 2**20  # images that a thread decodes before it writes, and their size
_GRAY_MODES = {"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F"}

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What Pillow may take a file for. Of all that it knows some start another program: Ghostscript for an .eps."""

MOST_PIXELS = 2**26
"""Of one image, 8192 x 8192: a small file can say that it holds more than the memory."""


class _NeedsColour(Exception):
    """Raised at a colour image among images that were taken for gray."""


@dataclass
class Decoded:
    """Shape of the array written. bad: the reason by position of each image that cannot be read; its row is zero."""

    shape: tuple[int, int, int, int]
    bad: dict[int, str] = field(default_factory=dict)


class NpyFile:
    """An .npy array [N, C, H, W] of uint8 that several threads fill, each its own rows."""

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
    advance: Advance,
) -> Decoded:
    """Write `images` to the .npy file `path`. Unreadable ones are returned, not raised.

    Raises UserError where `size` is None and the images differ in shape, or where none can be read.
    """
    if isinstance(images, np.ndarray) and size is None:
        return _copy(images, path, advance)
    gray = channels == "gray" or (channels == "auto" and _looks_gray(images))
    try:
        return _decode(images, ids, path, size, gray, channels == "auto", advance)
    except _NeedsColour:
        return _decode(images, ids, path, size, False, False, advance)


def _copy(images: np.ndarray, path: Path, advance: Advance) -> Decoded:
    if images.ndim == 3:
        images = images[:, None]
    file = NpyFile(path, images.shape)
    try:
        for start in range(0, len(images), 4096):
            file.put(start, images[start : start + 4096])
            advance(len(images[start : start + 4096]))
    finally:
        file.close()
    return Decoded(images.shape)  # type: ignore[arg-type]


def _decode(
    images: Images,
    ids: Sequence[str],
    path: Path,
    size: int | None,
    gray: bool,
    may_become_rgb: bool,
    advance: Advance,
) -> Decoded:
    shape = _common_shape(images, ids, size, gray)
    result = Decoded((len(images), *shape))
    mismatched: list[tuple[int, tuple[int, ...]]] = []
    file = NpyFile(path, result.shape)
    chunk = max(1, min(_CHUNK, _CHUNK_BYTES // math.prod(shape)))

    def decode_chunk(start: int) -> None:
        stop = min(start + chunk, len(images))
        block = np.zeros((stop - start, *shape), dtype=np.uint8)
        for i in range(start, stop):
            try:
                image = _open(images[i])
                if gray and may_become_rgb and not _is_gray(image):
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
                mismatched.append((i, pixels.shape))
        file.put(start, block)
        advance(stop - start)

    try:
        in_threads(decode_chunk, range(0, len(images), chunk), cores())
        if mismatched:
            _raise_shapes(shape, mismatched, ids)
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
    if not isinstance(item, bytes) and (reason := unreadable(item)):
        raise ValueError(reason)
    image = Pillow.open(io.BytesIO(item) if isinstance(item, bytes) else item, formats=_formats())
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"{image.width:,} x {image.height:,} pixels; at most {MOST_PIXELS:,} in all are read")
    image.load()
    return ImageOps.exif_transpose(image)


@functools.cache
def _formats() -> list[str]:
    """FORMATS, as far as this Pillow has them."""
    Pillow.init()
    return [name for name in FORMATS if name in Pillow.OPEN]


def _is_gray(image: Pillow.Image) -> bool:
    return image.mode in _GRAY_MODES


def _pixels(image: Pillow.Image, size: int | None, gray: bool) -> np.ndarray:
    if image.mode.startswith("I"):  # 16 bits a pixel: Pillow would clip at 255
        image = Pillow.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
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
    """Whether up to 64 evenly spaced images are gray; a colour image found later restarts the decoding."""
    for i in np.unique(np.linspace(0, len(images) - 1, 64).astype(int)):
        try:
            if not _is_gray(_open(images[i])):
                return False
        except Exception:
            continue
    return True


def _raise_shapes(shape: tuple[int, ...], mismatched: list[tuple[int, tuple[int, ...]]], ids: Sequence[str]) -> None:
    listing = "\n".join(f"{ids[i]}: {s[2]} x {s[1]} pixels" for i, s in sorted(mismatched)[:20])
    raise UserError(
        Problem(
            f"{len(mismatched)} images are not {shape[2]} x {shape[1]} pixels like the first; all must have one shape",
            "data.image_size",
            hint=f"set data.image_size, for instance data.image_size={min(shape[1:])}\n{listing}",
        )
    )


def _reason(error: Exception) -> str:
    if isinstance(error, Pillow.UnidentifiedImageError):
        return f"not an image in a format that is read ({', '.join(FORMATS)})"
    if isinstance(error, Pillow.DecompressionBombError):
        return f"more pixels than the {MOST_PIXELS:,} that are read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).partition("\n")[0] or type(error).__name__
