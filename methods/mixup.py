"""MixUp: convex combinations of labelled images and of their labels."""

from __future__ import annotations

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.mixing import mix, mixed_targets
from methods.ranges import log_uniform


class MixUp(Method):
    """Train on convex combinations of pairs of images and of their labels (Zhang et al., 2018, arXiv 1710.09412).

    lam ~ Beta(alpha, alpha), x~ = lam x + (1 - lam) x_pi, L = lam CE(f(x~), y) + (1 - lam) CE(f(x~), y_pi).
    The paper's: the loss, and alpha 0.1 to 0.4 for ImageNet, 1 for CIFAR; larger alpha under label noise. The released
    code's: one lam per batch. When: some labels are wrong, or few, and there are no unlabelled images.
    """

    class Hyper(Method.Hyper):
        alpha: float = hyper(1.0, search=log_uniform(0.1, 8.0), gt=0, help="Beta(alpha, alpha) of the mixing weight")

    views = Views(labelled=("weak",))
    in_flight = ("model_ema", "alpha")

    def loss(self, batch: Batch) -> Terms:
        x, y, y_other, lam = mix(batch.labelled.weak, batch.labelled.y, self.hyper.alpha, self.generator)
        logits = self.model(x)
        return Terms(labelled=self.labelled_loss(logits, mixed_targets(y, y_other, lam, logits)))
