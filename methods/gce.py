"""GCE: a loss between cross-entropy and mean absolute error."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.precision import at_least_float32
from methods.ranges import choice, uniform


class GCE(Method):
    """Generalised cross-entropy, (1 - p_y^q) / q: robust to wrong labels (Zhang & Sabuncu, 2018, arXiv 1805.07836).

    p_y: softmax of the given label. q -> 0 is cross-entropy, q = 1 the mean absolute error (up to a factor 2).
    truncate = k > 0: images with p_y <= k cost the constant (1 - k^q) / q and have no gradient, once truncate_from of
    the steps are done. The paper's: both; there pruning is decided once in ten epochs on all images, here in each step
    (our reading). When: a first answer to noisy labels, at the price of cross-entropy; large q learns slowly with many
    classes.
    """

    class Hyper(Method.Hyper):
        q: float = hyper(0.7, search=uniform(0.1, 1.0), gt=0, le=1, help="0 = cross-entropy, 1 = mean absolute error")
        truncate: float = hyper(
            0.0, search=choice(0.0, 0.3, 0.5), ge=0, lt=1, help="least p_y that still has a gradient; 0 = no truncation"
        )
        truncate_from: float = hyper(0.33, ge=0, le=1, help="part of the steps before truncation begins")

    views = Views(labelled=("weak",))
    accumulates = True
    in_flight = ("model_ema", "q")

    def loss(self, batch: Batch) -> Terms:
        labelled = batch.labelled
        each = self._each(self.model(labelled.weak), labelled.y)
        if self.hyper.truncate > 0 and batch.step >= self.hyper.truncate_from * self.setup.steps:
            each = each.clamp(max=(1 - self.hyper.truncate**self.hyper.q) / self.hyper.q)
        return Terms(labelled=each.mean())

    def _each(self, logits: Tensor, y: Tensor) -> Tensor:
        # exp(q log p), not p ** q: at p = 0 the derivative of the power is infinite.
        log_p = -F.cross_entropy(at_least_float32(logits), y, reduction="none")
        return -torch.expm1(self.hyper.q * log_p) / self.hyper.q
