"""UDA: the sharpened prediction of a weak view is the target of a strong view."""

from __future__ import annotations

from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.pseudo_labels import guess_on_weak_view
from methods.parts.selectors import Fixed
from methods.ranges import int_uniform, log_uniform, uniform


class UDA(Method):
    """Sharpened predictions of the weak view are soft targets of the strong view (Xie et al., 2020, arXiv 1904.12848).

    q_i = softmax(sg z(weak u_i)), t_i = softmax(sg z(weak u_i) / temperature), m_i = 1[max q_i >= threshold],
    L = L_labelled + lambda_u (1/M) sum_i m_i CE(z(strong u_i), t_i). The paper's: sharpening and mask; not its
    annealing of the labelled loss and its filter of foreign images. USB's (docs/semi_supervised.md, section 7.10): the
    numbers, one forward of all views; not its targets, which its soft path leaves unsharpened. When: as FixMatch; the
    targets are softer where the prediction is uncertain.
    """

    class Hyper(Method.Hyper):
        threshold: float = hyper(0.8, search=uniform(0.6, 0.95), ge=0, le=1, help="least confidence that counts")
        temperature: float = hyper(0.4, search=uniform(0.2, 1.0), gt=0, help="sharpens the targets; 1 = not at all")
        uratio: int = hyper(7, search=int_uniform(1, 15), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 4.0), ge=0, help="weight of the unlabelled loss")

    views = Views(labelled=("weak",), unlabelled=("weak", "strong"))
    accumulates = True
    in_flight = ("model_ema", "threshold", "temperature", "lambda_u")

    def build(self) -> None:
        self.selector = Fixed(self.hyper.threshold)

    def loss(self, batch: Batch) -> Terms:
        seen = guess_on_weak_view(self, batch)
        target = (seen.weak.detach() / self.hyper.temperature).softmax(dim=1)
        each = F.cross_entropy(seen.strong, target, reduction="none")
        return Terms(
            labelled=self.labelled_loss(seen.labelled, batch.labelled.y),
            unlabelled=self.hyper.lambda_u * (seen.guess.mask * each).mean(),
        )
