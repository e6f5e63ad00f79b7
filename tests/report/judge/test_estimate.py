"""Means and their intervals against scipy, rliable and numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from platform.report.judge.estimate import bootstrap, interquartile_mean, mean_estimate, median_estimate
from tests.report.judge.ends import ends, width


def spread(*values: float) -> list[float]:
    return list(values)


def test_students_t_of_unbounded_scores_is_scipys():
    x = [0.8, 0.9, 1.0, 0.7]
    found = mean_estimate(x)
    low, high = stats.t.interval(0.95, 3, loc=0.85, scale=stats.sem(x))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high)) and found.n == 4


def test_accuracies_have_students_t_on_the_logit_scale():
    found = mean_estimate([0.8, 0.9, 0.85], accuracy=True)
    half = 4.302653 * 0.05 / math.sqrt(3) / (0.85 * 0.15)  # t(0.975, 2) s / sqrt(n) / (m (1 - m))
    centre = math.log(0.85 / 0.15)
    assert found.value == pytest.approx(0.85)
    assert found.low == pytest.approx(1 / (1 + math.exp(half - centre)), rel=1e-6)
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - centre)), rel=1e-6)


@pytest.mark.parametrize("x", [[0.99, 0.5, 0.999], [0.0, 0.01, 0.4], [1.0, 1.0, 0.9], [0.1, 0.9, 0.5, 0.99]])
def test_no_interval_leaves_what_an_accuracy_can_be(x: list[float]):
    for found in (mean_estimate(x, accuracy=True), interquartile_mean(x, accuracy=True)):
        if found.low is not None:
            low, high = ends(found)
            assert 0 <= low < found.value < high <= 1


def test_below_three_blocks_there_are_words():
    assert mean_estimate([]) is None and median_estimate([]) is None
    one, two = mean_estimate([0.9], accuracy=True), mean_estimate([0.9, 0.94], accuracy=True)
    assert (one.low, one.why) == (None, "one block") and (two.low, two.why) == (None, "only 2 blocks")
    assert two.text() == "0.9200"


@pytest.mark.parametrize("n", [2, 3, 9, 10, 30])
def test_equal_values_never_have_an_interval_of_width_zero(n: int):
    for found in (mean_estimate([0.9] * n, accuracy=True), interquartile_mean([0.9] * n), median_estimate([0.9] * n)):
        assert found.low is None and found.high is None and found.why


def test_almost_equal_values_never_have_an_interval_of_width_zero():
    x = [0.9] * 12 + [0.91]
    for found in (mean_estimate(x, accuracy=True), interquartile_mean(x), median_estimate(x)):
        assert found.low is None or width(found) > 0


def test_differences_of_accuracies_are_cut_where_they_end():
    found = mean_estimate([-0.9, 0.9, 0.95], limit=1.0)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_the_interquartile_mean_cuts_a_quarter_at_each_end():
    x = [0.0, 0.5, 0.6, 0.7, 9.0]
    found = interquartile_mean(x)
    squares = 2 * 0.1**2 + 2 * 0.1**2  # winsorised: 0.5 0.5 0.6 0.7 0.7
    half = 4.302653 * math.sqrt(squares / (3 * 2))
    assert found.value == pytest.approx(0.6)
    assert (found.low, found.high) == (pytest.approx(0.6 - half, rel=1e-6), pytest.approx(0.6 + half, rel=1e-6))
    assert interquartile_mean([0.1, 0.2, 0.6]).value == pytest.approx(0.3)  # nothing to cut


def test_yuens_interval_is_scipys_trimmed_t():
    x = [0.41, 0.5, 0.62, 0.7, 0.71, 0.9, 0.93, 0.2]
    other = stats.ttest_ind(x, [0.0] * 7 + [1e-9], trim=0.25, equal_var=False)  # Yuen against almost nothing
    found = interquartile_mean(x)
    error = found.value / other.statistic
    assert ends(found)[1] - found.value == pytest.approx(stats.t.ppf(0.975, 3) * error, rel=1e-6)


def test_the_interquartile_mean_is_rliables():
    metrics = pytest.importorskip("rliable.metrics")
    x = np.random.default_rng(0).uniform(size=17)
    assert interquartile_mean(x).value == pytest.approx(metrics.aggregate_iqm(x[:, None]))


@pytest.mark.parametrize(("n", "places"), [(6, (0, 5)), (8, (0, 7)), (9, (1, 7)), (10, (1, 8)), (20, (5, 14))])
def test_the_medians_interval_is_between_two_order_statistics(n: int, places: tuple[int, int]):
    """Conover's table of the sign test: at n = 10 the 2nd and the 9th value, 97.9 %."""
    x = np.random.default_rng(n).normal(size=n)
    found = median_estimate(x)
    assert (found.low, found.high) == tuple(np.sort(x)[list(places)])
    assert found.value == np.median(x)
    assert 1 - 2 * stats.binom.cdf(places[0], n, 0.5) >= 0.95


def test_a_median_has_no_interval_below_six_blocks():
    assert median_estimate([1, 2, 3, 4, 5]).low is None and "from 6" in median_estimate([1, 2, 3, 4, 5]).why


def test_the_bootstrap_is_scipys_bca_but_for_the_expanded_quantile():
    x = np.random.default_rng(3).gamma(2.0, size=40)
    low, high = bootstrap(x, lambda a, axis: np.mean(a, axis=axis), draws=20_000)
    level = 2 * stats.norm.cdf(math.sqrt(40 / 39) * stats.t.ppf(0.975, 39)) - 1
    other = stats.bootstrap(
        (x,), np.mean, confidence_level=level, method="BCa", n_resamples=20_000, rng=np.random.default_rng(1)
    )
    width = high - low
    assert low == pytest.approx(other.confidence_interval.low, abs=0.03 * width)
    assert high == pytest.approx(other.confidence_interval.high, abs=0.03 * width)


def test_blocks_are_drawn_within_their_strata():
    """Two tasks that differ much, runs that hardly do: strata keep the difference of tasks out of the interval."""
    rng = np.random.default_rng(0)
    x = np.concatenate([0.2 + 0.001 * rng.normal(size=8), 0.8 + 0.001 * rng.normal(size=8)])
    within = mean_estimate(x, accuracy=True, strata=["a"] * 8 + ["b"] * 8)
    over = mean_estimate(x, accuracy=True)
    assert width(within) < 0.002 < 0.2 < width(over)


def test_the_stratified_bootstrap_is_agarwals():
    """Runs are drawn anew within each task, then the interquartile mean of all (Agarwal et al., 2021, section 4.1)."""
    rng = np.random.default_rng(1)
    x = rng.normal([0.5, 0.7, 0.75, 0.9], 0.05, size=(10, 4))  # runs, tasks
    drawn = [
        stats.trim_mean(np.concatenate([rng.choice(x[:, task], 10) for task in range(4)]), 0.25) for _ in range(4000)
    ]
    names = [task for _ in range(10) for task in range(4)]
    low, high = bootstrap(x.ravel(), lambda a, axis: stats.trim_mean(a, 0.25, axis=axis), strata=names)
    expanded = math.sqrt(40 / 39) * stats.t.ppf(0.975, 39)
    assert (high - low) / (2 * expanded) == pytest.approx(np.std(drawn), rel=0.08)
