"""Images with verified labels, set aside from training (labels.clean): the meta set of methods that learn from them."""

from __future__ import annotations

import numpy as np

from platform.core.errors import Problem, UserError
from platform.core.spec import derive_seed
from platform.data import draw

__all__ = ["clean_set"]


def clean_set(count: int, true: np.ndarray | None, rest: np.ndarray, class_names: tuple[str, ...], seed: int):
    """Sorted positions of `count` images out of `rest`, as many of each true class as of any other, up to one.

    true: [N] true labels, -1 = unknown, or None. rest: positions outside the validation part. seed: of the axis
    "split". Which classes get one more is drawn; a larger count contains the smaller one where both divide evenly.
    Raises UserError where no true label is known, or fewer images of a class are there than its share.
    """
    if count == 0:
        return np.empty(0, dtype=np.int64)
    known = rest if true is None else rest[true[rest] >= 0]
    if true is None or len(known) == 0:
        hint = "data.true_label_column names them; synthetic noise knows them; or leave labels.clean out"
        raise UserError(Problem("images with verified labels asked, no true label is known", "labels.clean", hint=hint))
    classes = len(class_names)
    counts = np.full(classes, count // classes)
    counts[np.random.default_rng(derive_seed(seed, "clean", "remainder")).permutation(classes)[: count % classes]] += 1
    available = np.bincount(true[known], minlength=classes)
    short = np.flatnonzero(counts > available)
    if count >= len(known) or len(short):
        raise UserError(_too_many(count, counts, available, short, class_names))
    return draw.take(true, dict(enumerate(counts.tolist())), derive_seed(seed, "clean"), known)


def _too_many(count: int, counts: np.ndarray, available: np.ndarray, short: np.ndarray, names: tuple[str, ...]):
    text = f"{count:,} images with verified labels asked, {available.sum():,} training images have a known true label"
    if len(short):
        worst = short[np.argmin(available[short] - counts[short])]
        text += f"; of class '{names[worst]}' {counts[worst]:,} are needed and {available[worst]:,} there"
    most = min(int(available.min()) * len(names), int(available.sum()) - 1)
    hint = f"balanced over the classes, at most {most:,} are possible (outside the validation part)"
    return Problem(text, "labels.clean", hint=hint)
