"""FreeMatch: thresholds that follow the confidence of the model."""

from __future__ import annotations

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.pseudo_labels import guess_on_weak_view
from methods.parts.selectors import SelectorStart, make_selector
from methods.ranges import int_uniform, log_uniform, uniform


class FreeMatch(Method):
    """FixMatch whose threshold follows the model's confidence, with a fairness term (Wang et al., 2023, 2205.07246).

    EMAs, updated before masking: tau of mean max q, p of mean q, h of the histogram of y = argmax q;
    tau_c = tau p_c / max p, m_i = 1[max q_i >= tau_y]. L_f = sum_c Norm(p / h)_c log Norm(p_s / h_s)_c over
    the selected strong views. L = L_labelled + lambda_u (1/M) sum_i m_i CE(z(strong u_i), y_i) + lambda_f L_f.
    The paper's: thresholds and fairness term. USB's (docs/semi_supervised.md, section 7.6): lambda_f 0.001 (the paper's
    0.01 to 0.05), clip_threshold 0.95 for SVHN. Ours: debiased EMAs; from 1/K, as published, tau cannot pass 0.333 in
    300 steps at K = 10, which is no threshold (selector_start published). When: very few labels; no threshold to tune.
    """

    class Hyper(Method.Hyper):
        selector_ema: float = hyper(
            0.999, search=uniform(0.9, 0.9999), ge=0, lt=1, help="EMA of threshold, mean prediction and histogram"
        )
        selector_start: SelectorStart = hyper(
            "debiased", help="averages from the first batch on, or published: from 1/K, which needs 1,000s of steps"
        )
        clip_threshold: float = hyper(1.0, gt=0, le=1, help="highest global threshold; 1 = off")
        lambda_f: float = hyper(0.001, search=log_uniform(1e-4, 0.1), ge=0, help="weight of the fairness term")
        uratio: int = hyper(7, search=int_uniform(1, 15), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 4.0), ge=0, help="weight of the unlabelled loss")

    views = Views(labelled=("weak",), unlabelled=("weak", "strong"))
    in_flight = ("model_ema", "selector_ema", "lambda_f", "lambda_u")

    def build(self) -> None:
        self.selector = make_selector("freematch", self.setup, self.hyper)

    def loss(self, batch: Batch) -> Terms:
        seen = guess_on_weak_view(self, batch)
        return Terms(
            labelled=self.labelled_loss(seen.labelled, batch.labelled.y),
            unlabelled=self.hyper.lambda_u * seen.guess.loss(seen.strong),
            fairness=self.hyper.lambda_f * self.selector.fairness(seen.strong, seen.guess.mask),
        )
