"""The stopping rules decide as Ray's schedulers do, to the last bit, on any sequence of scores."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule
from ray.tune.schedulers.async_hyperband import _Bracket

from platform.core.rungs import brackets, rungs
from platform.core.stopping_rules import MedianStopping, SuccessiveHalving, quantile


class Known(NamedTuple):
    """All that Ray's rules read of a trial."""

    trial_id: str


COARSE = st.integers(0, 10).map(lambda tenths: tenths / 10)  # many ties, and decimal fractions that are rounded
FINE = st.floats(-1e6, 1e6)
SCORE = st.one_of(COARSE, COARSE, FINE, st.sampled_from([math.inf, -math.inf]))


@st.composite
def reports(draw: st.DrawFn, evaluations: int, score: st.SearchStrategy[float] = SCORE) -> list[tuple[str, int, float]]:
    """(trial, evaluation, score) as they come in: each trial's in order and some missing, the trials mixed."""
    trials = draw(st.integers(1, 14))
    order = draw(st.permutations([trial for trial in range(trials) for _ in range(evaluations)]))
    counts, found = [0] * trials, []
    for trial in order:
        counts[trial] += 1
        if draw(st.integers(0, 5)):  # a score that is no number is passed over
            found.append((f"t{trial}", counts[trial], draw(score)))
    return found


HALVING = st.tuples(st.integers(1, 9), st.sampled_from([2, 3, 4, 5, 10]), st.integers(1, 3))


@given(st.data(), HALVING)
def test_each_bracket_is_rays(data: st.DataObject, settings: tuple[int, int, int]) -> None:
    evaluations, factor, grace = settings
    most = max(evaluations, grace + 1)
    stream = data.draw(reports(evaluations))
    for first in range(len(brackets(evaluations, factor, grace))):
        ours = SuccessiveHalving(rungs(evaluations + 1, factor, grace)[first:], factor)
        rays = _Bracket(grace, most, factor, first)
        stopped: set[str] = set()
        for key, evaluation, score in stream:
            if key in stopped:
                continue
            trial: Any = Known(key)
            with np.errstate(invalid="ignore"):
                stops = rays.on_result(trial, evaluation, score) == "STOP"
            assert ours.stops(key, evaluation, score) == stops
            stopped |= {key} if stops else set()


@given(st.data(), HALVING, st.sampled_from([1, -1]))
def test_asha_is_rays_scheduler(data: st.DataObject, settings: tuple[int, int, int], sign: int) -> None:
    """Also what a trial leaves behind that comes to its end."""
    evaluations, factor, grace = settings
    grace = min(grace, evaluations)
    ours = SuccessiveHalving(rungs(evaluations + 1, factor, grace), factor)
    rays: Any = AsyncHyperBandScheduler("evaluation", "score", "max" if sign > 0 else "min", evaluations, grace, factor)
    ended, added = set(), set()
    for key, evaluation, score in data.draw(reports(evaluations)):
        if key in ended:
            continue
        trial = Known(key)
        if key not in added:
            rays.on_trial_add(None, trial)
            added.add(key)
        result = {"evaluation": evaluation, "score": score}
        stops = ours.stops(key, evaluation, sign * score)
        with np.errstate(invalid="ignore"):
            if evaluation == evaluations:
                rays.on_trial_complete(None, trial, result)
                ended.add(key)
                continue
            assert stops == (rays.on_trial_result(None, trial, result) == "STOP")
        ended |= {key} if stops else set()


@given(st.data(), st.integers(1, 14), st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, -1]))
def test_the_median_rule_is_rays(data: st.DataObject, evaluations: int, grace: int, samples: int, sign: int) -> None:
    ours = MedianStopping(grace, samples)
    rays: Any = MedianStoppingRule(
        "evaluation",
        "score",
        "max" if sign > 0 else "min",
        grace,
        samples,
        min_time_slice=math.inf,  # type: ignore
    )
    stopped: set[str] = set()
    for key, evaluation, score in data.draw(reports(evaluations)):
        if key in stopped:
            continue
        result = {"evaluation": evaluation, "score": score}
        if data.draw(st.booleans()) and data.draw(st.booleans()):  # known from an earlier run: it only counts
            ours.record(key, evaluation, sign * score)
            rays._results[Known(key)].append(result)
            continue
        with np.errstate(invalid="ignore"):
            stops = rays.on_trial_result(None, Known(key), result) == "STOP"
        assert ours.stops(key, evaluation, sign * score) == stops
        stopped |= {key} if stops else set()


@given(st.lists(st.one_of(COARSE, FINE), min_size=1, max_size=30), st.sampled_from([2, 3, 4, 5, 7, 10]))
def test_the_quantile_is_numpys_to_the_bit(values: list[float], factor: int) -> None:
    percent = (1 - 1 / factor) * 100
    assert quantile(sorted(values), percent / 100) == np.nanpercentile(values, percent)


@pytest.mark.parametrize("rule", [SuccessiveHalving([1, 3], 3), MedianStopping(1, 1)])
def test_the_first_trial_and_those_that_are_as_good_go_on(rule: SuccessiveHalving | MedianStopping) -> None:
    for key in "abc":
        assert not any(rule.stops(key, evaluation, 0.5) for evaluation in (1, 2, 3))
    assert rule.stops("d", 1, 0.4)


def test_an_evaluation_counts_once() -> None:
    halving, median = SuccessiveHalving([1], 3), MedianStopping(1, 1)
    for rule in (halving, median):
        rule.stops("a", 1, 0.5)
        assert rule.stops("b", 1, 0.1) and not rule.stops("b", 1, 0.1)
