from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from platform.data.noise.noise_model import Noise


class Symmetric(Noise):
    """symmetric: a share `rate` of the labels becomes another class, every other class equally likely.

    T[y, k] = rate / (C - 1) off the diagonal, so the share of wrong labels is `rate` itself (docs/clid_mu.md,
    section 4.2, `sym`). Other code calls `uniform` symmetric too; mind which one a paper means.
    """

    def transition(self, num_classes: int, rate: float, class_names: Sequence[str] | None) -> np.ndarray:
        table = np.full((num_classes, num_classes), rate / (num_classes - 1))
        np.fill_diagonal(table, 1 - rate)
        return table
