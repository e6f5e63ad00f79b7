"""The splits to decode, made of what a source read: true labels, a drawn test part, the limit, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from platform.core.errors import Problem, UserError
from platform.core.files import printable
from platform.core.spec import DataSettings, derive_seed
from platform.data import draw
from platform.data.dataset import Image, Images, Split
from platform.data.source_contract import read_source, test_fraction
from platform.data.sources.source import Reading, Source

__all__ = ["name_images", "prepare", "select"]


def prepare(source: Source, settings: DataSettings, seed: int) -> Reading:
    """Read `source` and settle all that needs no pixel: true labels, the test part, the limit, notes.

    Raises UserError where no training image, or no test image with a label, is there.
    """
    reading = read_source(source)
    class_names, notes = tuple(map(printable, reading.class_names)), list(map(printable, reading.notes))
    train, test = reading.train, reading.test
    _check_names(class_names, train)
    name_images(train, "train")
    if len(train) == 0:
        raise UserError(Problem("there is no training image", "data.path"))
    if test is None:
        train, test = _draw_test(train, test_fraction(source), seed)
        notes.append(f"test part: {len(test):,} of {len(train) + len(test):,} images, drawn by the data seed")
    name_images(test, "test")
    if not source.local:
        train.true_labels, test.true_labels = train.labels, test.labels
    test = _labelled_test(test, notes)
    unlabelled = int((train.labels < 0).sum())
    if unlabelled:
        notes.append(f"{unlabelled:,} of {len(train):,} training images have no label: they are used as unlabelled")
    empty = sorted(set(range(len(class_names))) - set(np.unique(train.labels).tolist()))
    if empty:
        listing = ", ".join(class_names[c] for c in empty[:10]) + (", ..." if len(empty) > 10 else "")
        notes.append(f"{len(empty)} classes without a labelled training image: {listing}")
    extra = reading.extra
    if settings.limit is not None:
        train = _limit(train, settings.limit, derive_seed(seed, "limit", "train"))
        test = _limit(test, settings.limit, derive_seed(seed, "limit", "test"))
        if extra is not None and len(extra) > settings.limit:
            extra = _select_images(extra, np.arange(settings.limit))
        notes.append(f"limited to {len(train):,} training and {len(test):,} test images (data.limit)")
    return Reading(train, test, class_names, extra, tuple(notes))


def name_images(split: Split[Images], part: str) -> None:
    """Name images that have no name by their position: PART/0, PART/1, ... Other names are made printable."""
    split.ids = [f"{part}/{i}" for i in range(len(split))] if split.ids is None else list(map(printable, split.ids))


def _check_names(class_names: Sequence[str], train: Split[Images]) -> None:
    twice = next((name for name, times in Counter(class_names).items() if times > 1), None)
    if twice is not None:
        raise UserError(Problem(f"two classes are called '{twice}'", "data.class_names"))
    for column in train.columns:
        if len(column) > LONGEST or printable(column) != column:
            shown = printable(column[:50])
            text = f"a column is called '{shown}' ({len(column):,} characters): no name that can be kept"
            raise UserError(Problem(text, "data.path", hint=f"at most {LONGEST} characters, all of them printable"))


LONGEST = 200
"""Characters of a column's name: it names a file in an archive."""


def _truth(split: Split[Images]) -> np.ndarray:
    """The best known label of each image, [N]: the true one, else the given one."""
    if split.true_labels is None:
        return split.labels
    return np.where(split.true_labels >= 0, split.true_labels, split.labels)


def _draw_test(split: Split[Images], fraction: float, seed: int) -> tuple[Split[Images], Split[Images]]:
    truth = _truth(split)
    usable = np.flatnonzero(truth >= 0)
    if len(usable) < 2:
        raise UserError(Problem(f"only {len(usable)} images have a label: no test part can be drawn", "data.path"))
    count = min(max(1, round(fraction * len(usable))), len(usable) - 1)
    chosen = draw.stratified(truth, count, derive_seed(seed, "test"), usable)
    rest = np.setdiff1d(np.arange(len(split)), chosen)
    return select(split, rest), select(split, chosen)


def _labelled_test(test: Split[Images], notes: list[str]) -> Split[Images]:
    """The test images that have a label: the true one where it is known, else the given one."""
    truth = _truth(test)
    known = np.flatnonzero(truth >= 0)
    if len(known) == 0:
        what = f"none of the {len(test):,} test images has a label" if len(test) else "there is no test image"
        raise UserError(Problem(f"{what}: nothing can be measured", "data.path"))
    if test.true_labels is not None and (truth != test.labels)[known].any():
        notes.append("test images are judged by their true labels")
    if len(known) < len(test):
        notes.append(f"{len(test) - len(known):,} of {len(test):,} test images have no label and were left out")
    return (
        select(replace(test, labels=truth, columns={}), known)
        if len(known) < len(test)
        else replace(test, labels=truth, columns={})
    )


def _limit(split: Split[Images], limit: int, seed: int) -> Split[Images]:
    return split if len(split) <= limit else select(split, draw.stratified(_truth(split), limit, seed))


class _Selected(Sequence[Image]):
    """Some images of a sequence, fetched when they are decoded."""

    def __init__(self, images: Sequence[Image], positions: np.ndarray) -> None:
        self._images, self._positions = images, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, i: Any) -> Any:
        return self._images[int(self._positions[i])]


def _select_images(images: Images, positions: np.ndarray) -> Images:
    return images[positions] if isinstance(images, np.ndarray) else _Selected(images, positions)


def select(split: Split[Images], positions: np.ndarray) -> Split[Images]:
    """The rows of `split` at `positions`, [n] int64."""
    return Split(
        images=_select_images(split.images, positions),
        labels=split.labels[positions],
        true_labels=None if split.true_labels is None else split.true_labels[positions],
        columns={name: values[positions] for name, values in split.columns.items()},
        ids=None if split.ids is None else [split.ids[i] for i in positions],
    )
