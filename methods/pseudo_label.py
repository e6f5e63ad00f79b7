"""Pseudo-Label: the model's confident predictions are labels."""

from __future__ import annotations

from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.batch_norm import frozen_statistics
from methods.parts.pseudo_labels import PseudoLabels
from methods.parts.selectors import Fixed
from methods.ranges import int_uniform, log_uniform, uniform


class PseudoLabel(Method):
    """Label the unlabelled images with the model's confident predictions (Lee, 2013), in the form of the USB benchmark.

    z_i = f(weak u_i), y_i = argmax z_i, m_i = 1[max softmax z_i >= threshold], w(t) = clip(t / (ramp N), 0, 1),
    L = L_labelled + lambda_u w(t) (1/M) sum_i m_i CE(z_i, y_i). The paper's: predictions as labels, ramped in. USB's
    (docs/semi_supervised.md, section 7.2): the threshold, one view for pseudo-label and loss, BN running statistics
    from the labelled images only. When: a simple baseline for unlabelled images; with few labels it trains on its own
    errors, and FixMatch is better.
    """

    class Hyper(Method.Hyper):
        threshold: float = hyper(0.95, search=uniform(0.7, 0.98), ge=0, le=1, help="least confidence that counts")
        uratio: int = hyper(1, search=int_uniform(1, 7), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.25, 4.0), ge=0, help="weight of the unlabelled loss")
        ramp: float = hyper(0.4, search=uniform(0.0, 0.6), ge=0, le=1, help="part of the steps that ramps lambda_u up")

    views = Views(labelled=("weak",), unlabelled=("weak",))
    accumulates = True
    in_flight = ("model_ema", "threshold", "lambda_u", "ramp")

    def build(self) -> None:
        self.selector = Fixed(self.hyper.threshold)

    def loss(self, batch: Batch) -> Terms:
        unlabelled = batch.stream("unlabelled")
        labelled_loss = F.cross_entropy(self.model(batch.labelled.weak), batch.labelled.y)
        with frozen_statistics(self.model):
            logits = self.model(unlabelled.weak)
        guess = PseudoLabels.of(logits, self.selector, unlabelled.index)
        guess.record(self, unlabelled)
        weight = self.hyper.lambda_u * self.ramp_up(batch.step, self.hyper.ramp)
        return Terms(labelled=labelled_loss, unlabelled=weight * guess.loss(logits))
