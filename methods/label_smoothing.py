"""Label smoothing: part of each label's weight is spread over all classes."""

from __future__ import annotations

from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.precision import at_least_float32
from methods.ranges import uniform


class LabelSmoothing(Method):
    """Cross-entropy with smoothed labels (Szegedy et al., 2016, 1512.00567; under noise: Lukasik et al., 2020).

    L = (1/B) sum_i CE(z_i, (1 - s) onehot(y_i) + s / K), s = smoothing. The paper's: the loss, s 0.1; Lukasik et al.
    (arXiv 2003.02819) show that it acts as a shrinkage that also helps where labels are wrong. When: the plainest
    answer to noisy labels: a second baseline for methods that claim more.
    """

    class Hyper(Method.Hyper):
        smoothing: float = hyper(0.1, search=uniform(0.0, 0.6), ge=0, lt=1, help="weight spread over all classes")

    views = Views(labelled=("weak",))
    accumulates = True
    in_flight = ("model_ema", "smoothing")

    def loss(self, batch: Batch) -> Terms:
        logits = at_least_float32(self.model(batch.labelled.weak))
        return Terms(labelled=F.cross_entropy(logits, batch.labelled.y, label_smoothing=self.hyper.smoothing))
