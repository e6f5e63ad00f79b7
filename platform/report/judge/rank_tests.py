"""Tests of average ranks over blocks: Friedman, Nemenyi and the critical difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from platform.report.judge.differences import RANKS_FROM, SURE, smallest_p
from platform.report.judge.estimate import Numbers


@dataclass(frozen=True)
class RankTest:
    """Average ranks of k methods over n blocks, 1 = best; methods are in the order of their ranks.

    friedman: p that all are equal. nemenyi: [k, k] p of each pair. critical: ranks that differ by more are different at
    5 %, and only where Friedman's p is below 5 %. groups: positions (first, last) of methods that do not differ.
    """

    methods: list[str]
    ranks: np.ndarray
    n: int
    friedman: float
    nemenyi: np.ndarray
    critical: float
    groups: list[tuple[int, int]]


def rank_test(scores: Mapping[str, Numbers], maximise: bool = True) -> RankTest | str:
    """scores: [n] of each method, the same blocks. Or a sentence that says why ranks are not tested.

    Friedman's chi-square with correction for ties; then Nemenyi: p of the studentised range at
    |difference of ranks| / sqrt(k (k + 1) / (12 n)), infinite degrees of freedom (Demsar, JMLR 7, 2006, section 3.2.2).
    """
    from scipy import stats

    names, k = list(scores), len(scores)
    n = len(next(iter(scores.values()))) if scores else 0
    if k < 3:
        return "Ranks are compared from three methods on."
    if not n:
        return "No critical-difference diagram: there is no block that all methods have."
    if n < RANKS_FROM:
        return (
            f"No critical-difference diagram: on {n} common block{'s' * (n != 1)} the smallest p that a test of ranks "
            f"of two methods can reach is {smallest_p(n):.3g}; it is drawn from {RANKS_FROM} blocks on."
        )
    table = np.array([scores[name] for name in names], dtype=float).T
    if np.all(np.ptp(table, axis=1) == 0):
        return "No critical-difference diagram: all methods have equal scores."
    ranks = stats.rankdata(-table if maximise else table, axis=1).mean(axis=0)
    friedman = float(stats.friedmanchisquare(*table.T).pvalue)
    error = np.sqrt(k * (k + 1) / (12 * n))
    gaps = np.abs(ranks[:, None] - ranks[None, :])
    nemenyi = stats.studentized_range.sf(gaps / error, k, np.inf)
    critical = float(stats.studentized_range.isf(SURE, k, np.inf) * error)
    order = np.argsort(ranks, kind="stable")
    sorted_ranks = ranks[order]
    groups = groups_within(sorted_ranks, critical if friedman <= SURE else np.inf)
    return RankTest(
        [names[i] for i in order], sorted_ranks, n, friedman, nemenyi[np.ix_(order, order)], critical, groups
    )


def groups_within(ranks: Numbers, critical: float) -> list[tuple[int, int]]:
    """Largest runs of sorted ranks that lie within `critical`; runs inside another and single methods left out."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - ranks[first] <= critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def performance_profile(scores: Numbers, thresholds: Numbers, maximise: bool = True) -> np.ndarray:
    """Share of runs better than each threshold, [t] (Agarwal et al., 2021, section 4.2; Dolan and More, 2002).

    scores: [n] of one method; thresholds: [t].
    """
    x, limits = np.asarray(scores, dtype=float), np.asarray(thresholds, dtype=float)
    return np.mean(x[:, None] > limits[None, :] if maximise else x[:, None] < limits[None, :], axis=0)
