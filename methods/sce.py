"""SCE: cross-entropy plus reverse cross-entropy, which is bounded under noisy labels."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.precision import at_least_float32
from methods.ranges import log_uniform, uniform


class SCE(Method):
    """Symmetric cross-entropy: alpha CE(p, y) + beta CE(y, p) with log 0 := A (Wang et al., 2019, arXiv 1908.06112).

    L = (1/B) sum_j [-alpha log p_y - beta A (1 - p_y)]: the reverse term is -sum_k p_k log y_k for a one-hot y, that
    is -A times the mean absolute error. The paper's: the loss, alpha 0.1, beta 1 (CIFAR-10) or alpha 6, beta 0.1
    (CIFAR-100). The released code's: A = log 1e-4 (the paper's text: -4 to -6). When: as GCE; beta against alpha says
    how little the labels are trusted.
    """

    class Hyper(Method.Hyper):
        alpha: float = hyper(0.1, search=log_uniform(0.01, 10.0), ge=0, help="weight of the cross-entropy")
        beta: float = hyper(1.0, search=log_uniform(0.1, 10.0), ge=0, help="weight of the reverse cross-entropy")
        log_zero: float = hyper(-9.21, search=uniform(-10.0, -3.0), lt=0, help="A: what stands for log 0")

    views = Views(labelled=("weak",))
    accumulates = True
    in_flight = ("model_ema", "alpha", "beta", "log_zero")

    def loss(self, batch: Batch) -> Terms:
        forward = F.cross_entropy(at_least_float32(self.model(batch.labelled.weak)), batch.labelled.y, reduction="none")
        reverse = self.hyper.log_zero * torch.expm1(-forward)  # -A (1 - p_y), and p_y = exp(-forward)
        return Terms(cross_entropy=self.hyper.alpha * forward.mean(), reverse=self.hyper.beta * reverse.mean())
