"""What a sweep will take: the arithmetic of the forecast, the measuring, and what is said."""

from __future__ import annotations

import io
import random
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from platform.core.row import Row
from platform.data import open_dataset
from platform.data.label_plan import make_plan
from platform.dry_run import scheduler_simulation as asha
from platform.dry_run.calibrate import _merged
from platform.dry_run.forecast import BETWEEN, START, SweepForecast, describe, predict, size
from platform.dry_run.measure import Cost, _timed_steps, draw, measure
from platform.sweepfile import Sweep
from tests.runner.door import sweep as door
from tests.runner.sweeps import SPACE, driver, load, play

PLAIN = ("methods=[supervised]", "budget={trials: 4, scheduler: none}", "train={steps: 100, evaluations: 10}")
COST = Cost("supervised", "", [0.1], [0.5], begin=1.0, first=0.0, save=0.2, checkpoint=10**6, report=500, metrics=20)
"""A trial of 100 steps and 10 evaluations takes 15 s, and its slot 3.25 s more."""


def test_the_arithmetic_of_one_study(tmp_path: Path) -> None:
    found = predict(load(tmp_path, SPACE, *PLAIN), [COST], slots=1)
    (study,) = found.studies
    assert (study.trials, study.share, study.trial, study.seconds) == (4, 1.0, 15.0, 60.0)
    assert study.slot == pytest.approx(4 * (15 + 1.0 + 10 * 0.2 + BETWEEN))
    assert found.wall == pytest.approx(START + study.slot)
    two = predict(load(tmp_path, SPACE, *PLAIN), [replace(COST, ready=3.0)], slots=2)
    assert two.wall == pytest.approx(START + 3 + study.slot / 2 + 15 / 4)  # a slot idles while the last trial ends
    assert two.low < two.wall < two.high


def test_a_scheduler_a_second_study_and_repeats(tmp_path: Path) -> None:
    words = ("budget={trials: 9, studies: 2, repeats: 3}", *PLAIN[::2])
    found = predict(load(tmp_path, SPACE, *words), [COST], slots=1)
    share = asha.forecast(9, 10, 3, 1).share
    assert [(s.trials, s.repeats) for s in found.studies] == [(9, 3), (9, 3)]
    assert found.studies[0].seconds == pytest.approx(9 * share * 15)
    repeats = 6 * (15 + 1.0 + 10 * 0.2 + BETWEEN)  # never stopped early
    assert found.wall == pytest.approx(START + sum(s.slot for s in found.studies) + repeats)


@pytest.mark.parametrize(("budget", "seconds", "trials"), [("seconds: 45", 45, 3), ("seconds: 450, trials: 4", 60, 4)])
def test_granted_seconds_bound_it(tmp_path: Path, budget: str, seconds: float, trials: float) -> None:
    sweep = load(tmp_path, SPACE, *PLAIN, f"budget={{scheduler: none, {budget}}}")
    (study,) = predict(sweep, [COST], slots=1).studies
    assert (study.seconds, study.trials) == (pytest.approx(seconds), pytest.approx(trials))


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, *PLAIN)
    book = driver(tmp_path, sweep)
    rows: list[Row] = []
    while (row := book.next_row()) is not None:
        rows.append(row)
        if len(rows) == 3:
            break  # under way
        play(book, row, [0.5] * 10)
    done = {row.key: row for row in rows}
    assert predict(sweep, [COST], 1, done).studies[0].trials == 2
    granted = load(tmp_path, SPACE, *PLAIN, "budget={scheduler: none, seconds: 50}")
    assert predict(granted, [COST], 1, done).studies[0].seconds == pytest.approx(50 - sum(r.spent for r in rows[:2]))
    for row in rows[2:]:
        row.outcome = "completed"
    all_done = predict(load(tmp_path, SPACE, *PLAIN, "budget.trials=3"), [COST], 1, done)
    assert "Nothing is left to run." in said(sweep, all_done)


def test_doubt_grows_with_what_differs(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, *PLAIN)
    same = predict(sweep, [replace(COST, steps=[0.1] * 4, evaluations=[0.5] * 4)], 1)
    other = predict(sweep, [replace(COST, steps=[0.01, 0.05, 0.15, 0.19], evaluations=[0.5] * 4)], 1)
    assert other.wall == pytest.approx(same.wall)
    assert other.high - other.low > same.high - same.low > 0.4 * (same.wall - START)


def test_the_forecast_of_a_scheduler_knows_its_spread() -> None:
    few, many = asha.forecast(4, 10, 3, 1), asha.forecast(100, 10, 3, 1)
    assert 0.1 < few.spread < 0.5 and many.spread < few.spread / 2


def said(sweep: Sweep, found: SweepForecast, free: float = 1e12) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    now = time.mktime((2026, 3, 4, 23, 59, 30, 0, 0, -1))
    console.print(describe(sweep, found, 2, Path("results/small"), free, now))
    return console.export_text()


def test_what_is_said(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, "budget={trials: 4, scheduler: none, repeats: 2}", PLAIN[2])
    found = predict(sweep, [COST, Cost("pseudo_label", "ValueError: no")], 2)
    text = said(sweep, found)
    assert ["supervised", "15", "s", "4", "100%", "60", "s", "2:", "30", "s"] in [r.split() for r in text.splitlines()]
    assert "2 trials at once" in text and "90 s of training and evaluation" in text
    assert "it ends about Thu 05 Mar 00:0" in text  # tomorrow: with its day
    assert "pseudo_label could not be measured: ValueError: no" in text
    assert "are free for results/small" in text and "does not fit" not in text
    small = said(sweep, found, free=3e6)
    assert "3 MB are free" in small and "That does not fit." in small and "--results DIR" in small


def test_the_disk(tmp_path: Path) -> None:
    """One checkpoint per winner, one per slot, one being written; MLflow only where it is a file here."""
    sweep = load(tmp_path, SPACE, *PLAIN, "budget.studies=3")
    disk = predict(sweep, [COST], 2).disk
    assert disk["checkpoints"] == (3 + 2 + 1) * 10**6 and "MLflow" not in disk
    tracked = load(tmp_path, SPACE, *PLAIN, "tracking=sqlite:///results/x.db")
    more = load(tmp_path, SPACE, *PLAIN, "tracking=sqlite:///results/x.db", "budget.trials=8")
    assert predict(more, [COST], 2).disk["MLflow"] > predict(tracked, [COST], 2).disk["MLflow"] > 10**6
    assert [size(n) for n in (12, 1234, 5e6, 75.1e9, 2e12)] == ["12 B", "1.23 kB", "5 MB", "75.1 GB", "2 TB"]


SMALL = (
    "methods=[supervised]",
    "data={source: digits, limit: 200}",
    "train={steps: 20, evaluations: 4, batch_size: 8}",
)


def test_measuring_trains_real_steps_and_stays_in_the_space(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, *SMALL)
    (study,) = sweep.studies()
    data = open_dataset(sweep.data, study.seeds["data"])
    cost = measure(study, data, make_plan(data, sweep.labels, study.seeds), "cpu", seconds=0.3, seed=0)
    assert cost.error == "" and len(cost.steps) == len(cost.evaluations) >= 1
    assert min(cost.steps) > 0 and min(cost.evaluations) > 0
    assert cost.checkpoint > 10_000 and cost.metrics > 5 and cost.report > 100
    chance = random.Random(0)
    for _ in range(20):
        params = draw(study, chance)
        assert list(params) == list(study.space)
        assert all(study.space[key].range.contains(value) for key, value in params.items())


class Jumpy:
    """A trial on a clock of its own: a step takes 1 s, one after a jump 50 s more, every tenth step 5 s more."""

    spec = SimpleNamespace(train=SimpleNamespace(steps=1000))

    def __init__(self) -> None:
        self.step, self.seen, self.clock = 0, 0, 0.0

    def advance(self, count: int) -> None:
        for _ in range(count):
            self.clock += 1 + 50 * (self.step != self.seen) + 5 * (self.step % 10 == 9)
            self.step = self.seen = self.step + 1


def test_what_a_jump_costs_is_not_taken_for_the_cost_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = Jumpy()
    monkeypatch.setattr("platform.dry_run.measure.time.perf_counter", lambda: trial.clock)
    made, took = _timed_steps(trial, 500, count=0, seconds=60)
    assert made >= 30 and took / made == pytest.approx(1.5, abs=0.1)
    trial.spec = SimpleNamespace(train=SimpleNamespace(steps=2))
    assert _timed_steps(trial, 1, count=0, seconds=60)[0] == 1  # one step is all there is


def test_a_method_that_breaks_is_said_and_the_others_are_measured() -> None:
    broken, good = Cost("a", "ValueError: no"), replace(COST, method="a")
    assert _merged("a", [broken, broken]).error == "ValueError: no"
    both = _merged("a", [replace(good, steps=[0.1], save=0.1), replace(good, steps=[0.3], save=0.3), broken])
    assert (both.error, both.steps, both.save) == ("", [0.1, 0.3], pytest.approx(0.2))
    assert _merged("a", [Cost("", "MemoryError")]).error == "MemoryError"


@pytest.mark.slow
def test_a_dry_run_measures_in_processes_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(SPACE)
    done = door(path, *SMALL, "budget={trials: 3, repeats: 1}", "--dry-run", "--results", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert "What it will take" in done.stdout and "could not be measured" not in done.stdout
    assert "it ends about" in " ".join(done.stdout.split())
    assert not (tmp_path / "r").exists()
    plain = door(path, *SMALL, "--dry-run", "--no-calibration", "--results", tmp_path / "r")
    assert plain.returncode == 0 and "What it will take" not in plain.stdout
