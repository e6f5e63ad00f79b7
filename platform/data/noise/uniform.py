from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from platform.data.noise.noise_model import Noise


class Uniform(Noise):
    """uniform: a share `rate` of the labels is drawn anew from all classes, the true one included.

    T = (1 - rate) I + rate / C, so the share of wrong labels is rate (1 - 1 / C): 0.36 for rate 0.4 and 10 classes
    (docs/clid_mu.md, section 4.1, `unif`).
    """

    def transition(self, num_classes: int, rate: float, class_names: Sequence[str] | None) -> np.ndarray:
        return (1 - rate) * np.eye(num_classes) + rate / num_classes
