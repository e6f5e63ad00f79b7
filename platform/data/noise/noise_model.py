"""The contract of a label noise: which wrong label an image gets, by its class or by its pixels.

A class-conditional noise defines `transition` and nothing else; one that looks at the images overrides `corrupt`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from platform.core.errors import Problem, UserError


class Noise:
    """Base of all noise kinds."""

    needs_images: ClassVar[bool] = False

    def transition(self, num_classes: int, rate: float, class_names: Sequence[str] | None) -> np.ndarray:
        """T [C, C]: T[y, k] is the probability that true class y is given label k. Rows sum to 1."""
        raise NotImplementedError(f"{type(self).__name__} defines neither transition() nor corrupt()")

    def corrupt(
        self,
        labels: np.ndarray,
        rate: float,
        num_classes: int,
        rng: np.random.Generator,
        images: np.ndarray | None,
        class_names: Sequence[str] | None,
    ) -> np.ndarray:
        """[N] noisy labels for `labels` [N] in [0, C). Default: one draw per image from its row of `transition`."""
        table = self.transition(num_classes, rate, class_names)
        self._check(table, num_classes)
        draws = rng.random(len(labels))
        noisy = labels.copy()
        for y in np.unique(labels):
            rows = labels == y
            noisy[rows] = pick_column(table[y], draws[rows])
        return noisy

    def _check(self, table: np.ndarray, num_classes: int) -> None:
        """Raise UserError where `transition` gave no [C, C] matrix of probabilities."""
        name = type(self).__name__
        if table.shape != (num_classes, num_classes):
            text = f"{name}.transition() gives {list(table.shape)}, not a row and a column for each of "
            text += f"{num_classes} classes"
            raise UserError(Problem(text, "labels.noise"))
        bad = np.flatnonzero((table < -1e-9).any(axis=1) | (np.abs(table.sum(axis=1) - 1) > 1e-6))
        if len(bad):
            what = "is empty" if not table[bad[0]].any() else f"sums to {table[bad[0]].sum():g}"
            hint = "row y holds the probabilities of each label for true class y: none negative, sum 1"
            raise UserError(Problem(f"row {bad[0]} of {name}.transition() {what}", "labels.noise", hint=hint))

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]


def pick_column(probabilities: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """The class each draw in [0, 1) falls into; never one of probability 0, whatever the rounding of the sum."""
    last = np.flatnonzero(probabilities)[-1]
    return np.minimum(np.searchsorted(np.cumsum(probabilities), draws, side="right"), last)
