"""The better of two methods: paired differences, tests of all pairs together, probability of improvement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from platform.report.judge.estimate import BOOTSTRAP_FROM, FEWEST, Estimate, Numbers, bootstrap, mean_estimate

RANKS_FROM = 6
"""Blocks from which on tests of ranks can reach p < 0.05: the smallest two-sided p of n signs is 2 / 2^n."""
SURE = 0.05


@dataclass(frozen=True)
class Difference:
    """Score of `a` minus score of `b` on the blocks that both have.

    p: of Student's paired t test; None below 3 blocks. holm: p adjusted for all pairs of the comparison. wilcoxon: p of
    the signed-rank test from 6 blocks on. reachable: the smallest p that a test of signs or ranks can give at n blocks.
    improvement: P(a better than b). Signs are as scores are: with a score to be minimised, better is negative.
    """

    a: str
    b: str
    estimate: Estimate
    p: float | None
    wilcoxon: float | None
    reachable: float
    improvement: Estimate
    holm: float | None = None
    holm_wilcoxon: float | None = None

    @property
    def sure(self) -> bool:
        """Whether the two differ at a family-wise error of 5 %."""
        return self.holm is not None and self.holm <= SURE

    def better(self, maximise: bool) -> str:
        """The name of the better one on these blocks, sure or not."""
        return self.a if (self.estimate.value > 0) == maximise else self.b


def difference(
    a: str,
    b: str,
    x: Numbers,
    y: Numbers,
    accuracy: bool = True,
    strata: Sequence[Any] | None = None,
    maximise: bool = True,
) -> Difference | None:
    """x, y: [n] scores of a and b on the same blocks; None where there are none. accuracy: both lie in [0, 1]."""
    first, second = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    gaps = _gaps(first - second)
    found = mean_estimate(gaps, strata=strata, limit=1.0 if accuracy else None)
    if found is None:
        return None
    signed = (first, second) if maximise else (-first, -second)
    return Difference(
        a, b, found, paired_p(gaps), wilcoxon_p(gaps), smallest_p(len(gaps)), improvement(*signed, strata=strata)
    )


def _gaps(values: Numbers) -> np.ndarray:
    """Without the last bits: 0.3 - 0.2 and 0.2 - 0.1 are equal differences."""
    return np.round(np.asarray(values, dtype=float), 12)


def paired_p(gaps: Numbers) -> float | None:
    """Two-sided p of the paired t test on differences [n]; None below 3.

    Equal differences have no known spread: then the p of the sign-flip test, 2 / 2^n (Fisher, 1935), or 1 if all are 0.
    """
    from scipy import stats

    d = _gaps(gaps)
    if len(d) < FEWEST:
        return None
    if np.ptp(d) == 0:
        return 1.0 if d[0] == 0 else smallest_p(len(d))
    found: Any = stats.ttest_1samp(d, 0.0)
    return float(found.pvalue)


def wilcoxon_p(gaps: Numbers) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test (1945), zeros left out; None below 6 differences."""
    from scipy import stats

    d = _gaps(gaps)
    if len(d) < RANKS_FROM:
        return None
    d = d[d != 0]
    if not len(d):
        return 1.0
    ties = len(np.unique(np.abs(d))) < len(d)
    # scipy's exact null distribution knows no ties: then all sign flips, as long as they are few
    flips: Any = stats.PermutationMethod(n_resamples=2**13) if len(d) <= 12 else "approx"
    found: Any = stats.wilcoxon(d, method=flips if ties else "auto")
    return float(found.pvalue)


def smallest_p(n: int) -> float:
    """The smallest two-sided p of any test of n signs or signed ranks: 2 / 2^n."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for being one of several (Holm, Scandinavian Journal of Statistics 6, 1979).

    Of m values in rising order, the i-th becomes the largest (m + 1 - j) p(j) over j <= i, at most 1. None stays None
    and does not count.
    """
    order = sorted((value, place) for place, value in enumerate(p) if value is not None)
    found: list[float | None] = [None] * len(p)
    highest = 0.0
    for step, (value, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - step) * value))
        found[place] = highest
    return found


def improvement(x: Numbers, y: Numbers, strata: Sequence[Any] | None = None) -> Estimate:
    """Probability that a run of x is better than one of y (Agarwal et al., 2021, section 4.3, arXiv 2108.13264).

    x, y: [n] on the same blocks. Within a stratum, the share of all pairs (i, j) with x(i) > y(j), ties one half; then
    the mean over strata. The interval is a bootstrap of blocks, both scores of a block drawn together; none below 10.
    """
    names = list(strata) if strata is not None else [""] * len(x)
    codes = [float(list(dict.fromkeys(names)).index(name)) for name in names]
    pairs = np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float), codes], axis=1)

    def statistic(drawn: np.ndarray, axis: int) -> np.ndarray:
        groups = [np.flatnonzero(drawn[0, :, 2] == code) for code in np.unique(drawn[0, :, 2])]  # drawn within strata
        shares = [_share_won(drawn[:, group, 0], drawn[:, group, 1]) for group in groups]
        return np.mean(shares, axis=0)

    value = float(statistic(pairs[None], axis=1)[0])
    n = len(pairs)
    if n < BOOTSTRAP_FROM or value in (0.0, 1.0):
        why = f"an interval from {BOOTSTRAP_FROM} blocks on" if n < BOOTSTRAP_FROM else "no exception was seen"
        return Estimate(value, None, None, n, why)
    low, high = bootstrap(pairs, statistic, strata)
    return Estimate(value, low, high, n) if low < high else Estimate(value, None, None, n, "too many ties")


def _share_won(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mann and Whitney's U / n^2 of each draw; x, y: [draws, n]."""
    from scipy import stats

    n = x.shape[1]
    ranks = stats.rankdata(np.concatenate([x, y], axis=1), axis=1)
    return (ranks[:, :n].sum(axis=1) - n * (n + 1) / 2) / n**2
