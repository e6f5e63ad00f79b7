"""Expected best score against the budget: against all draws, one by one, and against repeated searches."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from platform.report.judge.budget_curves import (
    assumption,
    budget_curve,
    completed_share,
    expected_best,
    expected_best_in_seconds,
)
from platform.report.judge.comparison import open_comparison
from tests.report.judge.ends import ends
from tests.report.judge.made_sweep import made_sweep

NAN = float("nan")


def by_enumeration(scores: list[float], values: list[float], maximise: bool) -> list[float]:
    found = []
    for k in range(1, len(scores) + 1):
        worth = []
        for draw in itertools.combinations(range(len(scores)), k):
            done = [i for i in draw if np.isfinite(scores[i])]
            if done:
                worth.append(values[min(done, key=lambda i: (-scores[i] if maximise else scores[i], i))])
        found.append(float(np.mean(worth)) if worth else NAN)
    return found


@pytest.mark.parametrize("maximise", [True, False])
@pytest.mark.parametrize(
    "scores",
    [[0.3, 0.9, 0.5], [0.5, 0.5, 0.7, 0.5], [NAN, 0.4, NAN, 0.8, 0.6], [NAN, NAN], [0.1]],
    ids=["plain", "ties", "diverged", "none", "one"],
)
def test_the_curve_is_the_mean_over_all_draws(scores: list[float], maximise: bool):
    values = [0.1 * (i + 1) ** 2 for i in range(len(scores))]
    found = expected_best(scores, values, maximise)
    assert found == pytest.approx(np.array(by_enumeration(scores, values, maximise)), nan_ok=True)


def test_the_curve_by_hand():
    """Of 1, 2, 3: one drawn 2, two drawn (2 + 3 + 3) / 3, all drawn 3."""
    assert list(expected_best([1, 2, 3], [1, 2, 3])) == pytest.approx([2, 8 / 3, 3])


def test_the_curve_is_unbiased_for_a_smaller_search():
    """Of searches of 8 independent trials, the mean curve at 3 trials is what searches of 3 trials give."""
    rng = np.random.default_rng(0)
    estimated = np.mean([expected_best(x, x)[2] for x in rng.uniform(size=(4000, 8))])
    assert estimated == pytest.approx(3 / 4, abs=0.005)  # the mean of the largest of 3 uniform numbers


def test_the_curve_holds_at_500_trials():
    x = np.random.default_rng(1).uniform(size=500)
    found = expected_best(x, x)
    assert (
        np.all(np.diff(found) >= -1e-9) and found[-1] == pytest.approx(x.max()) and found[0] == pytest.approx(x.mean())
    )


def test_how_often_a_draw_has_a_completed_trial():
    assert completed_share([NAN, 0.5, NAN, 0.6]) == pytest.approx([2 / 4, 1 - 1 / 6, 1, 1])


def test_over_seconds_it_is_the_mean_over_all_orders():
    scores, values, seconds = [0.3, 0.9, NAN, 0.5], [1.0, 4.0, 9.0, 2.0], [5.0, 10.0, 1.0, 2.0]
    grid = [7.5, 13.5, 18.0]
    found = expected_best_in_seconds(scores, values, seconds, grid, orders=20_000)
    for place, limit in enumerate(grid):
        worth = []
        for order in itertools.permutations(range(4)):
            ended = [i for i, end in zip(order, np.cumsum([seconds[i] for i in order]), strict=True) if end <= limit]
            done = [i for i in ended if np.isfinite(scores[i])]
            if done:
                worth.append(values[max(done, key=lambda i: scores[i])])
        assert found[place] == pytest.approx(np.mean(worth), abs=0.03)
    assert np.isnan(expected_best_in_seconds(scores, values, seconds, [0.5]))[0]


def test_a_method_has_its_curve_over_studies(tmp_path: Path):
    found = open_comparison([made_sweep(tmp_path / "a", {"fixmatch": [0.90, 0.93, 0.92]}, trials=3)])
    curve = budget_curve(found.methods[0], accuracy=True, test=True)
    last = curve.trials[-1]
    low, high = ends(last)
    assert last.value == pytest.approx((0.90 + 0.93 + 0.92) / 3) and low < last.value < high
    assert curve.trials[0].value == pytest.approx(last.value - 0.01)  # the mean of the trials
    assert curve.seconds[-1].value == pytest.approx(last.value) and curve.grid[-1] == 33.0
    assert curve.seconds[0] is None


def test_studies_without_any_completed_trial_are_left_out(tmp_path: Path):
    found = open_comparison([made_sweep(tmp_path / "a", {"x": [0.9, None], "y": [None, None]})])
    assert budget_curve(found.methods[0], True, True).trials[-1].value == 0.9
    assert budget_curve(found.methods[1], True, True) is None


def test_what_sampler_and_scheduler_do_to_it_is_said(tmp_path: Path):
    method = open_comparison([made_sweep(tmp_path / "a", {"x": [0.9, 0.8]})]).methods[0]
    assert "independently" in assumption(method)
    method.info.resolved["budget"] |= {"sampler": "tpe", "scheduler": "asha"}
    assert "the sampler tpe" in assumption(method) and "asha decides" in assumption(method)
