from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from platform.data.noise.noise_model import Noise


class Pair(Noise):
    """pair: a share `rate` of the labels becomes the next class, the last one becomes the first.

    T[y, y] = 1 - rate, T[y, (y + 1) mod C] = rate. The released CLID-MU `flip` draws the wrong class of each row once
    with a fixed seed instead (docs/clid_mu.md, section 4.1); the next class is the field's usual form and needs no
    hidden draw.
    """

    def transition(self, num_classes: int, rate: float, class_names: Sequence[str] | None) -> np.ndarray:
        eye = np.eye(num_classes)
        return (1 - rate) * eye + rate * np.roll(eye, 1, axis=1)
