"""Open-set noise: classes of origin that are no classes here; their training images carry the label of another one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.spec import DataSettings, derive_seed
from platform.data.dataset import Images, Split
from platform.data.sources.source import Reading

__all__ = ["known_labels", "open_classes", "relabel"]


def open_classes(settings: DataSettings, class_names: tuple[str, ...]) -> list[int]:
    """Numbers of the classes that data.open_set names. Raises UserError for others, or where fewer than 2 are left."""
    numbers = []
    for name in map(str, settings.open_set):
        if name not in class_names:
            raise UserError(Problem(f"no class '{name}'", "data.open_set", hint=did_you_mean(name, class_names)))
        numbers.append(class_names.index(name))
    if len(class_names) - len(set(numbers)) < 2:
        text = f"{len(set(numbers))} of {len(class_names)} classes are of no class here: at least 2 have to be left"
        raise UserError(Problem(text, "data.open_set"))
    return sorted(set(numbers))


def relabel(reading: Reading, settings: DataSettings, seed: int) -> tuple[Reading, np.ndarray]:
    """The reading without the classes of data.open_set, and which training images [N] of it to keep.

    Their training images get the label of one of the other classes, each equally likely, and the true label -1 (none
    of these classes; labels are taken for true where the data bring no others): the open-set noise of Wang et al.
    (2018, arXiv 1804.00092), with images of the same source. data.open_set_rate keeps as many of them as make this
    share of all training images. Their test images get the label -1, by which they are left out. Further label columns
    are dropped: they name classes by other numbers.
    """
    closed = np.setdiff1d(np.arange(len(reading.class_names)), open_classes(settings, reading.class_names))
    number = np.full(len(reading.class_names) + 1, -1, dtype=np.int64)  # the last one: label -1
    number[closed] = np.arange(len(closed))
    train, test = reading.train, reading.test
    assert test is not None
    truth, test_truth = known_labels(train), known_labels(test)
    outside = (truth >= 0) & (number[truth] < 0)
    rng = np.random.default_rng(derive_seed(seed, "open_set"))
    drawn = rng.integers(0, len(closed), len(train))
    labels = np.where(outside, drawn, number[train.labels])
    keep = ~outside | _chosen(outside, settings.open_set_rate, rng)
    kept = int((outside & keep).sum())
    names = ", ".join(map(str, settings.open_set))
    note = f"open-set noise: {kept:,} training images of {names} carry labels of other classes"
    relabelled: Split[Images] = replace(train, labels=labels, true_labels=number[truth], columns={})
    test_true = None if test.true_labels is None else number[test_truth]
    others: Split[Images] = replace(test, labels=number[test_truth], true_labels=test_true, columns={})
    class_names = tuple(reading.class_names[c] for c in closed)
    return Reading(relabelled, others, class_names, reading.extra, (*reading.notes, note)), np.flatnonzero(keep)


def known_labels(split: Split[Images]) -> np.ndarray:
    """The best known label of each image, [N]: the true one, else the given one."""
    if split.true_labels is None:
        return split.labels
    return np.where(split.true_labels >= 0, split.true_labels, split.labels)


def _chosen(outside: np.ndarray, rate: float | None, rng: np.random.Generator) -> np.ndarray:
    """The mask [N] of the images that are kept, out of the mask `outside` [N]."""
    if rate is None:
        return outside
    inside, available = int((~outside).sum()), int(outside.sum())
    count = round(rate * inside / (1 - rate))
    if count > available:
        text = f"a rate of {rate:g} needs {count:,} images of these classes, {available:,} are there"
        hint = f"at most {available / (available + inside):.3f}, or name more classes in open_set"
        raise UserError(Problem(text, "data.open_set_rate", hint=hint))
    chosen = np.zeros(len(outside), dtype=bool)
    chosen[rng.permutation(np.flatnonzero(outside))[:count]] = True
    return chosen
