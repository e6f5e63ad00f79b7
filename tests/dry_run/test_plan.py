"""The plan: rungs, what ASHA does, and the text of --dry-run."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from platform.core.rungs import brackets, perturbations, rungs, shares
from platform.core.stopping_rules import quantile
from platform.data.dataset import Augment, Dataset, LabelPlan, Split
from platform.dry_run.plan import describe
from platform.dry_run.scheduler_simulation import forecast, forecast_median
from platform.sweepfile import Sweep


def test_rungs() -> None:
    assert rungs(10, 3, 1) == [1, 3, 9]
    assert rungs(9, 3, 1) == [1, 3]  # the last evaluation judges nothing
    assert rungs(10, 2, 2) == [2, 4, 8]
    assert rungs(1, 3, 1) == []
    assert rungs(4, 3, 4) == []


@pytest.mark.slow  # imports Ray
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("grace", [1, 2, 5])
def test_rungs_are_rays(factor: int, grace: int) -> None:
    from ray.tune.schedulers.async_hyperband import _Bracket

    for evaluations in range(grace + 1, 100):
        for first, marks in enumerate(brackets(evaluations, factor, grace)):
            bracket = _Bracket(grace, evaluations, factor, first, stop_last_trials=True)
            milestones = sorted(milestone for milestone, _ in bracket._rungs)
            assert [m for m in milestones if m < evaluations] == marks
        assert brackets(evaluations, factor, grace)[0] == rungs(evaluations, factor, grace)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(0, 1))
def test_the_quantile_is_numpys(values: list[float], part: float) -> None:
    assert quantile(sorted(values), part) == pytest.approx(np.percentile(values, 100 * part), abs=1e-6)


def test_the_first_two_trials_of_asha() -> None:
    """Alone, one is never stopped. Of two, the second stops at the first rung if it is worse: half the time."""
    alone = forecast(1, 10, 3, 1)
    assert (alone.reach, alone.finish, alone.share) == ((1, 1, 1), 1, 1)
    two = forecast(2, 10, 3, 1)
    assert two.reach[0] == 2
    assert two.finish == pytest.approx(1.5, abs=0.03)
    assert two.share == pytest.approx((10 + 0.5 * 10 + 0.5 * 1) / 20, abs=0.02)


def test_many_trials_come_near_the_textbook() -> None:
    many = forecast(2000, 10, 3, 1)
    assert many.reach[1] / 2000 == pytest.approx(1 / 3, rel=0.1)
    assert many.reach[2] / many.reach[1] == pytest.approx(1 / 3, rel=0.2)


def printed(*args: object) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(describe(*args))  # type: ignore[arg-type]
    return console.export_text()


GOOD = """
methods: [layermatch, mixup]
labels: {per_class: 1, noise: symmetric, rate: 0.5}
train: {steps: 600, batch_size: 4}
search:
  centre_mode: {choice: [proto, off]}
  centre_temperature: {log_uniform: [0.05, 0.5], when: {centre_mode: proto}}
budget: {trials: 16, studies: 2}
"""


def test_the_plan_of_a_sweep(sweep: Callable[..., Sweep]) -> None:
    images = np.zeros((6, 1, 8, 8), np.uint8)
    labels = np.array([0, 0, 0, 1, 1, 1])
    split = Split(images, labels, labels)
    dataset = Dataset(
        "tiny", ("a", "b"), split, Split(images[:5], labels[:5]), Augment(), "0" * 64, notes=("3 skipped",)
    )
    given_ = np.array([1, 0, 0, 1, 1, 1])
    plan = LabelPlan(np.array([0, 3]), np.array([0, 1, 3, 4]), np.array([2, 5]), given_, labels, "0" * 64)
    text = printed(sweep(GOOD), dataset, {0: plan, 1: plan})
    rows = [line.split() for line in text.splitlines()]
    assert "nothing was started" in text
    assert "Each trial learns from tiny: 2 classes, 1 x 8 x 8 pixels, label noise symmetric 0.5" in text
    assert ["0", "2", "4", "2", "5", "50.0%"] in rows
    assert [row[:3] for row in rows if len(row) == 5 and row[0] in {"0", "1", "2", "end"}] == [
        ["0", "1", "60"], ["1", "3", "180"], ["2", "9", "540"], ["end", "10", "600"],
    ]  # fmt: skip
    assert "layermatch: 2 searched; a step of trial 0 sees 4 labelled + 28 unlabelled images" in text
    assert ["centre_temperature", "log_uniform", "[0.05,", "0.5]", "centre_mode", "is", "proto", "0.1"] in rows
    assert "mixup: nothing is searched: 1 trial, not 16" in text
    assert "34 trials (2 methods x 2 studies, see the notes), 600 steps each" in text
    assert "3 skipped" in text


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("{preset: paper}", ["preset paper; 63 trials (", "then 18 repeats: each study's winner on 3 fresh seeds"]),
        ("{seconds: 60}", ["trials (2 methods x 1 study, see the notes), 600 steps"]),
        ("{seconds: 60, trials: 4}", ["up to 5 trials (2 methods x 1 study, see the notes)"]),
    ],
)
def test_the_amount(sweep: Callable[..., Sweep], budget: str, words: list[str]) -> None:
    text = printed(sweep(GOOD, f"budget={budget}"))
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("budget.scheduler=none", "scheduler: none"),
        ("budget.trials=1", "one trial per study"),
        ("train.evaluations=1", "no rung"),
    ],
)
def test_no_rung_table_where_nothing_stops(sweep: Callable[..., Sweep], override: str, why: str) -> None:
    assert f"Every trial runs to its last step ({why})" in printed(sweep(GOOD, override))


def test_more_evaluations_than_steps(sweep: Callable[..., Sweep]) -> None:
    rows = [line.split() for line in printed(sweep(GOOD, "train={steps: 4, evaluations: 10}")).splitlines()]
    assert [row[:3] for row in rows if len(row) == 5 and row[0] in {"0", "1", "end"}] == [
        ["0", "1", "1"], ["1", "3", "3"], ["end", "4", "4"],
    ]  # fmt: skip


def test_brackets_and_marks() -> None:
    assert brackets(10, 3, 1) == [[1, 3, 9], [3, 9], [9], []]
    assert shares(brackets(10, 3, 1)) == pytest.approx([0.6439, 0.2369, 0.0871, 0.0321], abs=1e-4)
    assert perturbations(10, 3) == [3, 6, 9] and perturbations(9, 3) == [3, 6] and perturbations(2, 2) == []


def test_hyperband_stops_less_than_its_first_bracket_alone() -> None:
    asha, hyperband = forecast(100, 10, 3, 1), forecast(100, 10, 3, 1, hyperband=True)
    assert asha.share < hyperband.share < 1 and asha.finish < hyperband.finish < 100
    assert forecast(1, 10, 3, 1, hyperband=True).share == 1


def test_the_median_rule_stops_none_of_the_first_three() -> None:
    assert forecast_median(3, 10, 1, 3).share == 1
    many = forecast_median(400, 10, 1, 3)  # at each evaluation half of those that are left
    assert many.reach[0] == 400 and many.reach[1] / 400 == pytest.approx(0.5, abs=0.05) and many.finish < 100
    four = forecast_median(4, 10, 2, 3)  # the fourth is judged: below the middle one of three, with chance 1/2
    assert four.finish == pytest.approx(3.5, abs=0.03)
    assert four.share == pytest.approx((30 + 0.5 * 10 + 0.5 * 2) / 40, abs=0.02)


LR = "search={train.lr: {log_uniform: [1e-3, 0.3]}, centre_mode: {choice: [proto, off]}}"


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ("hyperband", ["Hyperband, per study of 16 trials", "3, 9", "never", "With one or two slots"]),
        ("median", ["Median rule, per study of 16 trials", "the first 3 always run to the end"]),
        ("pbt", ["Population-based training, per study of 16", "at most 4", "layermatch changes train.lr", "540"]),
    ],
)
def test_what_each_scheduler_will_do(sweep: Callable[..., Sweep], scheduler: str, words: list[str]) -> None:
    text = " ".join(printed(sweep(GOOD, "methods=[layermatch]", LR, f"budget.scheduler={scheduler}")).split())
    assert [part for part in words if part not in text] == []


def test_what_a_sampler_leaves_to_chance_is_said(sweep: Callable[..., Sweep]) -> None:
    text = " ".join(printed(sweep(GOOD, "methods=[layermatch]", LR, "budget.sampler=cmaes")).split())
    assert "layermatch: cmaes leaves centre_mode to chance: it models what every trial has" in text
    text = " ".join(printed(sweep(GOOD, "budget.sampler=gp")).split())
    assert "gp leaves centre_temperature to chance" in text and "gp learns from completed trials only: asha" in text
    assert "to chance" not in printed(sweep(GOOD))
