"""Paired tests, Holm, probability of improvement and ranks against scipy, scikit-posthocs, rliable and by hand."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from scipy import stats

from platform.report.judge.differences import difference, holm, improvement, paired_p, smallest_p, wilcoxon_p
from platform.report.judge.rank_tests import RankTest, groups_within, performance_profile, rank_test
from tests.report.judge.ends import ends

RNG = np.random.default_rng(7)
TABLE = RNG.normal([0.8, 0.82, 0.9, 0.81], 0.03, size=(12, 4))
SCORES = {name: TABLE[:, i] for i, name in enumerate("abcd")}


def test_what_blocks_share_cancels():
    found = difference("a", "b", [0.50, 0.92, 0.71], [0.49, 0.90, 0.70])
    gaps = [0.01, 0.02, 0.01]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(gaps), scale=stats.sem(gaps))
    assert (found.estimate.low, found.estimate.high) == (pytest.approx(low), pytest.approx(high))
    assert found.p == pytest.approx(stats.ttest_rel([0.50, 0.92, 0.71], [0.49, 0.90, 0.70]).pvalue)
    assert difference("a", "b", [], []) is None


def test_below_three_blocks_there_is_no_p():
    found = difference("a", "b", [0.5, 0.9], [0.4, 0.8])
    assert found.p is None and not found.sure and found.estimate.low is None


def test_equal_differences_are_no_certainty():
    found = difference("a", "b", [0.3, 0.2, 0.9], [0.2, 0.1, 0.8])
    assert found.p == 0.25 and found.estimate.low is None  # two times 1/2^3
    assert difference("a", "b", [0.5] * 4, [0.5] * 4).p == 1.0
    assert paired_p([0.01] * 12) == pytest.approx(2 / 2**12)


def test_ten_blocks_have_a_bootstrap_interval():
    found = difference("c", "a", TABLE[:, 2], TABLE[:, 0])
    t = stats.t.interval(0.95, 11, loc=found.estimate.value, scale=stats.sem(TABLE[:, 2] - TABLE[:, 0]))
    assert found.estimate.low != pytest.approx(t[0], rel=1e-9) and found.estimate.low == pytest.approx(t[0], rel=0.15)


def test_the_signed_rank_test_waits_for_six_blocks():
    gaps = [0.01, 0.02, 0.03, 0.05, 0.04, -0.06]
    assert wilcoxon_p(gaps[:5]) is None and smallest_p(5) == pytest.approx(0.0625)
    assert wilcoxon_p(gaps) == pytest.approx(stats.wilcoxon(gaps).pvalue)
    assert wilcoxon_p([1, 2, 3, 4, 5, 6]) == pytest.approx(smallest_p(6)) == 2 / 64
    assert wilcoxon_p([0.0] * 6) == 1.0


def test_the_signed_rank_test_with_ties_counts_all_sign_flips():
    """1, 1, 2, 2, 3, 3: of 64 sign flips only all plus and all minus are as extreme."""
    assert wilcoxon_p([1, 1, 2, 2, 3, 3]) == pytest.approx(2 / 64)


def test_holms_adjustment_by_hand():
    """Holm (1979): 0.01 x 4, 0.03 x 2, 0.02 x 3, and 0.04 may not be smaller than those before it."""
    assert holm([0.01, 0.04, 0.03, 0.02]) == [pytest.approx(v) for v in (0.04, 0.06, 0.06, 0.06)]
    assert holm([0.01, None, 0.9]) == [0.02, None, 0.9] and holm([]) == []


def test_holms_adjustment_is_what_scikit_posthocs_uses():
    posthocs = pytest.importorskip("scikit_posthocs")
    table = posthocs.posthoc_wilcoxon(TABLE.T, p_adjust="holm").to_numpy()
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    ours = holm([wilcoxon_p(TABLE[:, i] - TABLE[:, j]) for i, j in pairs])
    assert ours == [pytest.approx(table[pair]) for pair in pairs]


def test_the_probability_of_improvement_counts_all_pairs():
    found = improvement([3, 2, 2], [1, 2, 4])
    assert found.value == pytest.approx((2 + 1.5 + 1.5) / 9) and found.low is None
    assert improvement([1, 2, 3], [4, 5, 6]).value == 0


def test_the_probability_of_improvement_is_rliables():
    metrics = pytest.importorskip("rliable.metrics")
    x, y = RNG.normal(size=(10, 3)), RNG.normal(0.5, size=(10, 3))  # runs, tasks
    names = [task for _ in range(10) for task in range(3)]
    found = improvement(x.ravel(), y.ravel(), strata=names)
    assert found.value == pytest.approx(metrics.probability_of_improvement(x, y))
    low, high = ends(found)
    assert 0 <= low < found.value < high <= 1


def test_signs_turn_with_a_score_that_is_to_be_small():
    found = difference("a", "b", [1.0, 2.0, 3.0], [2.0, 3.5, 4.0], accuracy=False, maximise=False)
    assert found.estimate.value < 0 and found.improvement.value > 0.5


def test_friedman_and_nemenyi_are_scipys_and_scikit_posthocs():
    found = rank_test(SCORES)
    assert isinstance(found, RankTest) and found.n == 12
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*TABLE.T).pvalue)
    assert found.methods[0] == "c" and list(found.ranks) == sorted(found.ranks)
    assert sum(found.ranks) == pytest.approx(10)
    posthocs = pytest.importorskip("scikit_posthocs")
    theirs = posthocs.posthoc_nemenyi_friedman(TABLE)
    order = ["abcd".index(name) for name in found.methods]
    off = ~np.eye(4, dtype=bool)
    assert found.nemenyi[off] == pytest.approx(theirs.to_numpy()[np.ix_(order, order)][off], abs=1e-3)


def test_the_critical_difference_is_demsars():
    """Demsar (2006), section 3.2.2: k = 4, 14 data sets, q = 2.569: CD = 2.569 sqrt(4 x 5 / (6 x 14)) = 1.25."""
    found = rank_test({name: RNG.normal(size=14) for name in "abcd"})
    assert found.critical == pytest.approx(2.569 * np.sqrt(20 / 84), abs=2e-3)


def test_ranks_are_not_tested_on_five_blocks():
    words = rank_test({name: scores[:5] for name, scores in SCORES.items()})
    assert isinstance(words, str) and "0.0625" in words and "from 6" in words
    assert isinstance(rank_test({"a": [1.0] * 8, "b": [2.0] * 8}), str)
    assert "equal" in str(rank_test({name: [0.5] * 8 for name in "abc"}))


def test_groups_of_ranks_by_hand():
    assert groups_within([1.0, 1.5, 2.4, 4.0], 1.0) == [(0, 1), (1, 2)]
    assert groups_within([1.0, 1.5, 1.9, 4.0], 1.0) == [(0, 2)] and groups_within([1.0, 3.0], 1.0) == []


def test_a_performance_profile_by_hand():
    assert list(performance_profile([0.1, 0.5, 0.5, 0.9], [0.0, 0.5, 0.6])) == [1.0, 0.25, 0.25]
    assert list(performance_profile([0.1, 0.5, 0.5, 0.9], [0.2, 0.5], maximise=False)) == [0.25, 0.25]


def test_a_performance_profile_is_rliables():
    try:
        library = importlib.import_module("rliable.library")
    except Exception as error:  # its dependency arch does not import beside pandas 3
        pytest.skip(f"rliable does not import: {error}")
    x = RNG.uniform(size=(9, 1))
    limits = np.linspace(0, 1, 7)
    theirs = [library.run_score_deviation(x, limit) for limit in limits]
    assert performance_profile(x[:, 0], limits) == pytest.approx(theirs)
