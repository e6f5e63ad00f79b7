"""Learning rates against their formulas; the grid of evaluations."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError

from platform.core.errors import UserError
from platform.core.rungs import evaluation_steps
from platform.core.spec import TrainSettings
from platform.sweepfile import load
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


def test_multistep():
    expected = [0.3] * 40 + [0.003] * 40 + [0.00003] * 40  # ELR's 120 epochs
    assert rates(120, schedule="multistep", milestones=(1 / 3, 2 / 3), gamma=0.01) == pytest.approx(expected)
    assert rates(300, schedule="multistep", milestones=(0.5,)) == pytest.approx([0.3] * 150 + [0.03] * 150)  # DivideMix


def test_linear():
    """Co-teaching's 200 epochs: lr for 80, then lr (200 - epoch) / 120."""
    expected = [0.3 * min(1, (200 - t) / 120) for t in range(200)]
    assert rates(200, schedule="linear", milestones=(0.4,)) == pytest.approx(expected)
    assert rates(4, schedule="linear", milestones=()) == pytest.approx([0.3, 0.225, 0.15, 0.075])


def scheduled(make: Any, steps: int) -> list[float]:
    """The rates of a scheduler of PyTorch's."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("lr_min", [0.0, 0.01])
def test_cosines_with_periods_are_pytorchs(lr_min: float):
    schedulers = torch.optim.lr_scheduler
    restarts = scheduled(lambda o: schedulers.CosineAnnealingWarmRestarts(o, T_0=6, eta_min=lr_min), 60)
    assert rates(60, schedule="warm_restarts", period=0.1, lr_min=lr_min) == pytest.approx(restarts)
    assert restarts[5] < restarts[6] == 0.3
    waves = scheduled(lambda o: schedulers.CosineAnnealingLR(o, T_max=5, eta_min=lr_min), 60)
    assert rates(60, schedule="cosine_waves", period=5 / 60, lr_min=lr_min) == pytest.approx(waves, abs=1e-9)
    assert waves[5] == pytest.approx(lr_min) and waves[10] == pytest.approx(0.3)


@pytest.mark.parametrize("milestones", [(0.5, 0.4), (0.0,), (1.0,), (0.5, 0.5)])
def test_milestones_that_are_none_are_refused(milestones: tuple[float, ...]):
    with pytest.raises(ValidationError, match="milestones"):
        TrainSettings(milestones=milestones)


def test_a_sweep_file_says_what_is_wrong_with_its_milestones(tmp_path: Path):
    for written, message in (
        ("[0.9, 0.8]", "train.milestones: the list .0.9, 0.8.: milestones: 0.9, 0.8 do not ascend"),
        ("[1.5]", "train.milestones: 1.5 is not a positive number below 1"),
        ("0.5", "train.milestones: 0.5 is not a list"),
    ):
        (tmp_path / "x.yaml").write_text(f"methods: [supervised]\ntrain: {{milestones: {written}}}\n")
        with pytest.raises(UserError, match=message):
            load(tmp_path / "x.yaml")


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
