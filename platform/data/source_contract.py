"""Checks what a data source gives: whoever writes one is told in words what its `read` should have returned."""

from __future__ import annotations

import contextlib
import inspect
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from platform.core.errors import Problem, UserError
from platform.core.plugins import imported_text, own_trace
from platform.data.sources.source import LocalOptions, Reading, Source, Split

__all__ = ["own_errors", "read_source", "test_fraction"]

HINT = "the contract: platform/data/sources/source.py; try it: python -m platform.check FILE.py"


def read_source(source: Source) -> Reading:
    """`source.read()`, checked. Raises UserError where it breaks the contract or raises an error of its own."""
    name = type(source).__name__
    if type(source).read is Source.read:
        raise UserError(Problem(f"{name} does not define read()", "data.source", hint=HINT))
    try:
        reading: Any = source.read()
    except (UserError, MemoryError):
        raise
    except Exception as error:
        file = Path(inspect.getfile(type(source)))
        raise UserError(Problem(f"{name}.read() fails", "data.source", hint=own_trace(error, file))) from error
    if problem := _problem(source, reading):
        raise UserError(Problem(f"{name}.read() {problem}", "data.source", hint=HINT))
    return reading


@contextlib.contextmanager
def own_errors(source: Source) -> Iterator[None]:
    """Turn an error that a source's plug-in file raises into a UserError with the file's own lines."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        file = Path(inspect.getfile(type(source)))
        frames = traceback.extract_tb(error.__traceback__)
        if imported_text(type(source)) is None or all(frame.filename != str(file) for frame in frames):
            raise
        raise UserError(Problem(f"{file} fails", "data.source", hint=own_trace(error, file))) from error


def test_fraction(source: Source) -> float:
    """The share of a drawn test part; the default where the source's options do not have it."""
    return getattr(source.options, "test_fraction", LocalOptions.model_fields["test_fraction"].default)


def _problem(source: Source, reading: Any) -> str:
    """The error in a reading, to stand after the words "read()"; "" where there is none."""
    if not isinstance(reading, Reading):
        return f"returns a {type(reading).__name__}, not a Reading"
    names: Any = reading.class_names
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(n, str) for n in names):
        return f"gives class_names={names!r}, not a tuple of words"
    if reading.test is None and not source.drawn_test():
        return "returns test=None: define drawn_test() and return True there, so that the data seed draws a test part"
    parts: dict[str, Any] = {"train": reading.train}
    if reading.test is not None:
        parts["test"] = reading.test
    return next((f"returns {part}: {wrong}" for part, split in parts.items() if (wrong := _wrong(split, names))), "")


def _wrong(split: Any, names: Sequence[str]) -> str:
    if not isinstance(split, Split):
        return f"a {type(split).__name__}, not a Split"
    try:
        count = len(split.images)
    except TypeError:
        return f"its images are a {type(split.images).__name__}, not a sequence or an array"
    if isinstance(split.images, np.ndarray) and (split.images.dtype != np.uint8 or split.images.ndim not in (3, 4)):
        shape = list(split.images.shape)
        return f"its images are {split.images.dtype} {shape}, not uint8 [N, C, H, W] or [N, H, W]"
    columns = {"labels": split.labels, "true_labels": split.true_labels}
    columns |= {f"columns[{name!r}]": values for name, values in split.columns.items()}
    for name, values in columns.items():
        if values is None and name == "true_labels":
            continue
        if wrong := _wrong_labels(values, count, len(names) if name in ("labels", "true_labels") else None):
            return f"its {name} {wrong}"
    if split.ids is not None and len(split.ids) != count:
        return f"it has {len(split.ids):,} ids for {count:,} images"
    return ""


def _wrong_labels(values: Any, count: int, classes: int | None) -> str:
    """classes: None = numbers of any size."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu" or values.ndim != 1:
        kind = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else type(values).__name__
        return f"are a {kind}, not an array [N] of whole numbers"
    if len(values) != count:
        return f"are {len(values):,} for {count:,} images"
    if classes is not None and len(values) and not -1 <= int(values.min()) <= int(values.max()) < classes:
        return f"go from {values.min()} to {values.max()}: there are {classes} classes, and -1 says that there is none"
    return ""
