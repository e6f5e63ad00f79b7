"""Small real image files, and a cache folder of the test's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from platform.core.spec import DataSettings
from platform.data import open_dataset


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("KURABE_CACHE", str(folder))
    return folder


def pixels(seed: int, height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    """[H, W, C] (or [H, W] for one channel) of random bytes."""
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    """`array` as the bytes of a PNG file, which keeps every pixel."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folders(tmp_path: Path) -> Callable[..., Path]:
    """Writes an image folder: folders(train={"cat": 3}, test={"cat": 2}) or folders(cat=3)."""

    def write(height: int = 8, width: int = 8, channels: int = 3, **classes: Any) -> Path:
        top, seed = tmp_path / "images", 0
        nested = classes if any(isinstance(v, dict) for v in classes.values()) else {".": classes}
        for split, counts in nested.items():
            for name, count in counts.items():
                (top / split / name).mkdir(parents=True, exist_ok=True)
                for i in range(count):
                    (top / split / name / f"{i:03}.png").write_bytes(png(pixels(seed, height, width, channels)))
                    seed += 1
        return top

    return write


def opened(source: str, seed: int = 0, progress: bool = False, **settings: Any) -> Any:
    """The Dataset of `settings`, as Any: tests know which optional parts are there."""
    return open_dataset(DataSettings(source=source, **settings), seed, progress)
