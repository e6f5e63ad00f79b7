"""500 trials that train next to nothing: what is left is the machine around them; it must not swell or slow down."""

from __future__ import annotations

import statistics

import pytest

from tests.bench.bench_long import measure


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_stays_flat_and_a_trial_costs_the_same_at_the_end():
    course = measure(500)
    early, late = course.early_and_late()
    assert statistics.median(late) < 2 * statistics.median(early)
    # MiB per 100 trials. The driver knows every trial of the sweep (0.1 MiB each, with Tune's and Optuna's records).
    assert course.growth(course.driver) < 20 and course.growth(course.worker) < 5
