"""Noise with a rate of its own for a group of images: a value of a label column, or a class of origin."""

from __future__ import annotations

import numpy as np

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.spec import LabelSettings
from platform.data.classes import as_number
from platform.data.dataset import Dataset
from platform.data.noise import corrupt

__all__ = ["drawn_noise", "members"]


def drawn_noise(dataset: Dataset, labels: LabelSettings, before: np.ndarray, seed: int) -> np.ndarray:
    """Labels [N] with the synthetic noise of `labels`: at labels.rate, in the group (if any) at labels.group_rate.

    The two draw the same random numbers: an image that is wrong at the lower rate is wrong at the higher one, and the
    group changes no label outside. Raises UserError where there is no such group.
    """
    train, classes = dataset.train, dataset.num_classes
    given = corrupt(before, labels.noise, labels.rate, classes, seed, train.images, dataset.class_names)
    if labels.group is None:
        return given
    inside = members(dataset, labels.group)
    other = corrupt(before, labels.noise, labels.group_rate, classes, seed, train.images, dataset.class_names)
    return np.where(inside, other, given)


def members(dataset: Dataset, group: str) -> np.ndarray:
    """Whether each training image [N] is in the group `COLUMN=VALUE` or `class=NAME`.

    VALUE is a whole number or a class name, as the column holds. The class is the true one where it is known.
    Raises UserError where column, value or class is not there, or no image has it.
    """
    column, _, value = (part.strip() for part in group.partition("="))
    names, columns = list(dataset.class_names), dataset.train.columns
    if column != "class" and column not in columns:
        has = sorted({*columns, "class"})
        raise UserError(Problem(f"no label column '{column}'", "labels.group", hint=did_you_mean(column, has)))
    number = names.index(value) if value in names else as_number(value)
    values = _origin(dataset) if column == "class" else columns[column]
    inside = values == number if number is not None else np.zeros(len(values), dtype=bool)
    if not inside.any():
        there = [names[v] if column == "class" else str(v) for v in np.unique(values[values >= 0])[:20].tolist()]
        text = f"no training image has {column}={value}"
        raise UserError(Problem(text, "labels.group", hint=did_you_mean(value, there)))
    return inside


def _origin(dataset: Dataset) -> np.ndarray:
    labels, true = dataset.train.labels, dataset.train.true_labels
    return labels if true is None else np.where(true >= 0, true, labels)
