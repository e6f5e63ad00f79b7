"""FixMatch: pseudo-labels from a weak view, trained on a strong view."""

from __future__ import annotations

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.pseudo_labels import guess_on_weak_view
from methods.parts.selectors import Fixed
from methods.ranges import int_uniform, log_uniform, uniform


class FixMatch(Method):
    """Confident predictions of the weak view label the strong view (Sohn et al., 2020, arXiv 2001.07685).

    q_i = softmax(sg z(weak u_i)), y_i = argmax q_i, m_i = 1[max q_i >= threshold],
    L = L_labelled + lambda_u (1/M) sum_i m_i CE(z(strong u_i), y_i). The paper's: the loss. USB's: one forward of
    all views, so that they share batch statistics (docs/semi_supervised.md, section 7.4). The strong view is the data
    set's (section 7.0 there), not the paper's two. When: few labels, many
    unlabelled images of one kind.
    """

    class Hyper(Method.Hyper):
        threshold: float = hyper(0.95, search=uniform(0.7, 0.98), ge=0, le=1, help="least confidence that counts")
        uratio: int = hyper(7, search=int_uniform(1, 15), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 4.0), ge=0, help="weight of the unlabelled loss")

    views = Views(labelled=("weak",), unlabelled=("weak", "strong"))
    accumulates = True
    in_flight = ("model_ema", "threshold", "lambda_u")

    def build(self) -> None:
        self.selector = Fixed(self.hyper.threshold)

    def loss(self, batch: Batch) -> Terms:
        seen = guess_on_weak_view(self, batch)
        labelled_loss = self.labelled_loss(seen.labelled, batch.labelled.y)
        return Terms(labelled=labelled_loss, unlabelled=self.hyper.lambda_u * seen.guess.loss(seen.strong))
