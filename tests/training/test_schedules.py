"""Learning rates against their formulas; the grid of evaluations."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from platform.core.rungs import evaluation_steps
from platform.core.spec import TrainSettings
from platform.training.schedules import learning_rate


def rates(steps: int, **settings: Any) -> list[float]:
    train = TrainSettings.model_validate({"steps": steps, "lr": 0.3} | settings)
    return [learning_rate(train, step) for step in range(steps)]


def test_cosine_7_16():
    expected = [0.3 * math.cos(7 * math.pi * t / (16 * 40)) for t in range(40)]
    assert rates(40, schedule="cosine_7_16") == pytest.approx(expected)


def test_cosine_half():
    expected = [0.3 * (1 + math.cos(math.pi * t / 40)) / 2 for t in range(40)]
    assert rates(40, schedule="cosine_half") == pytest.approx(expected)


def test_constant():
    assert set(rates(5, schedule="constant")) == {0.3}


def test_warm_up_is_linear_and_the_schedule_starts_after_it():
    warm = rates(50, schedule="cosine_7_16", warmup=10)
    assert warm[:10] == pytest.approx([0.03 * k for k in range(1, 11)])
    assert warm[10:] == pytest.approx(rates(40, schedule="cosine_7_16"))


@given(
    steps=some.integers(1, 300),
    warmup=some.integers(0, 400),
    schedule=some.sampled_from(["cosine_7_16", "cosine_half", "constant"]),
)
def test_rates_stay_between_zero_and_the_peak(steps: int, warmup: int, schedule: str):
    assert all(0 < rate <= 0.3 * (1 + 1e-12) for rate in rates(steps, warmup=warmup, schedule=schedule))


def test_evaluations_are_evenly_spaced():
    assert evaluation_steps(100, 4) == [25, 50, 75, 100]
    assert evaluation_steps(10, 4) == [3, 5, 8, 10]
    assert evaluation_steps(3, 10) == [1, 2, 3]


@given(steps=some.integers(1, 5000), evaluations=some.integers(1, 200))
def test_the_last_evaluation_is_the_last_step(steps: int, evaluations: int):
    marks = evaluation_steps(steps, evaluations)
    assert marks[-1] == steps and marks[0] >= 1 and len(marks) == min(steps, evaluations)
    ideal = [k * steps / evaluations for k in range(1, evaluations + 1)]
    assert all(min(abs(mark - place) for place in ideal) <= 0.5 for mark in marks)
