"""Supervised: training on the labelled images alone, the baseline of all other methods."""

from __future__ import annotations

from methods.base import Batch, Method, Terms, Views


class Supervised(Method):
    """Cross-entropy on the labelled images alone, as they are labelled.

    L = (1/B) sum_j CE(z_j, y_j), weak view; textbook. When: as the baseline of every comparison, and where all images
    have trustworthy labels.
    """

    views = Views(labelled=("weak",))
    accumulates = True
    in_flight = ("model_ema",)

    def loss(self, batch: Batch) -> Terms:
        return Terms(labelled=self.labelled_loss(self.model(batch.labelled.weak), batch.labelled.y))
