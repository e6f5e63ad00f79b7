"""FlexMatch: FixMatch with lower thresholds for the classes that are learnt later."""

from __future__ import annotations

from methods.fixmatch import FixMatch
from methods.parts.selectors import make_selector


class FlexMatch(FixMatch):
    """FixMatch whose threshold of a class grows with its confident images (Zhang et al., 2021, arXiv 2110.08263).

    s_i: the last label with which image i passed `threshold`, or none. sigma_c = #{s = c},
    beta_c = sigma_c / max(max_c sigma_c, #{no label}), tau_c = threshold beta_c / (2 - beta_c),
    m_i = 1[max q_i >= tau_y]. The paper's: the thresholds, with warm-up and convex mapping. USB's
    (docs/semi_supervised.md, section 7.5): a step's mask uses the memory from before the step. Ours: an image that is
    twice in a batch counts once, with its last label. When: few labels and classes of unequal difficulty; not where the
    unlabelled images are unbalanced.
    """

    def build(self) -> None:
        self.selector = make_selector("flexmatch", self.setup, self.hyper)
