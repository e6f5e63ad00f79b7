"""SoftMatch: every pseudo-label counts, with a weight by its confidence."""

from __future__ import annotations

from methods.base import Method, hyper
from methods.fixmatch import FixMatch
from methods.parts.selectors import SelectorStart, make_selector
from methods.ranges import int_uniform, log_uniform, uniform


class SoftMatch(FixMatch):
    """FixMatch with a Gaussian weight of the confidence instead of a threshold (Chen et al., 2023, arXiv 2301.10921).

    q'_i ~ q_i (1/K) / EMA(mean q), c_i = max q'_i, mu and var EMAs of c's mean and variance,
    m_i = exp(-min(c_i - mu, 0)^2 n_sigma^2 / (2 var)), the loss as FixMatch's with these m_i.
    The paper's: the weight; uniform alignment q' shapes it only, y_i = argmax q_i. USB's (docs/semi_supervised.md,
    section 7.7): updated before use, the unbiased variance. Ours: debiased EMAs; from 1/K and 1, as published, each
    image counts for nearly 1 in the first 1,000 steps (selector_start published). When: few labels; it uses all images
    early on, and lets more wrong pseudo-labels through than FlexMatch.
    """

    class Hyper(Method.Hyper):  # pyright: ignore[reportIncompatibleVariableOverride]: no threshold
        n_sigma: float = hyper(2.0, search=uniform(1.0, 3.0), gt=0, help="deviations below the mean that still count")
        selector_ema: float = hyper(
            0.999, search=uniform(0.9, 0.9999), ge=0, lt=1, help="EMA of the confidence's mean, variance and prediction"
        )
        selector_start: SelectorStart = hyper(
            "debiased", help="averages from the first batch on, or published: from 1/K and 1, for 1,000s of steps"
        )
        uratio: int = hyper(7, search=int_uniform(1, 15), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 4.0), ge=0, help="weight of the unlabelled loss")

    in_flight = ("model_ema", "n_sigma", "selector_ema", "lambda_u")

    def build(self) -> None:
        self.selector = make_selector("softmatch", self.setup, self.hyper)
