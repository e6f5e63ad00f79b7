"""Every sampler, continued from the ledger, proposes what it would have proposed undisturbed."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform.core.row import Row
from platform.runner.driver import Driver
from platform.runner.messages import Progress
from platform.sweepfile.schema import Budget
from tests.runner.sweeps import driver, load, report

SAMPLERS = ("tpe", "random", "qmc", "cmaes", "gp", "nsga2")

SPACE = """
name: several
methods: [layermatch]
labels: {per_class: 4}
train: {steps: 20, evaluations: 4}
search:
  train.lr: {log_uniform: [1e-3, 0.3]}
  model_ema: {uniform: [0.9, 0.999]}
  uratio: {int_uniform: [1, 5]}
  centre_mode: {choice: [attract, proto, "off"]}
  centre_temperature: {log_uniform: [0.05, 0.5], when: {centre_mode: proto}}
budget: {trials: 24, scheduler: none}
tracking: none
"""


def worth(row: Row) -> float:
    """Depends on the parameters alone."""
    return 1 - abs(row.params["train.lr"] - 0.05) - (row.params["model_ema"] - 0.95) ** 2 * 50


def events(book: Driver, slots: int, count: int, seed: int) -> list[Row]:
    """Play `count` events on `slots` slots in an order that the seed draws; the rows in the order they were started.

    A row's own fate (completed, stopped, diverged) follows from its number.
    """
    chance = random.Random(seed)
    running: list[Row] = []
    started: list[Row] = []
    for _ in range(count):
        while len(running) < slots and (row := book.next_row()) is not None:
            running.append(row)
            started.append(row)
            book.ask_ahead()
        if not running:
            break
        row = chance.choice(running)
        _one_more(book, row)
        if row.outcome is not None:
            running.remove(row)
    return started


def _one_more(book: Driver, row: Row) -> None:
    number = len(row.reports) + 1
    fate = {2: "stopped", 5: "diverged"}.get(row.number % 7, "completed")
    last = number == (4 if fate == "completed" else 2)
    score = float("nan") if fate == "diverged" and last else worth(row) * number / 4
    outcome = fate if last and fate != "stopped" else None
    evaluation = report(row, number, score) | {"seconds": number * (1 + row.params["uratio"])}
    book.reported(Progress(row.key, [evaluation], outcome), done=last)


def facts(rows: list[Row]) -> list[tuple[str, int, str]]:
    return [(row.study, row.number, row.key) for row in rows]


def marked(*names: str) -> list[Any]:
    """The default and the simplest in the unit tier, the others beside it; a Gaussian process takes half a second per
    proposal."""
    return [name if name in ("tpe", "random") else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("sampler", marked(*SAMPLERS))
def test_continued_anywhere_it_proposes_what_it_would_have_undisturbed(tmp_path: Path, sampler: str) -> None:
    """One slot: the driver dies after any event; the next one has nothing but the ledger."""
    trials = 24 if sampler != "gp" else 12
    sweep = load(tmp_path, SPACE, f"budget.sampler={sampler}", f"budget.trials={trials}")
    (tmp_path / "whole").mkdir()
    whole = facts(events(driver(tmp_path / "whole", sweep), 1, 1000, 0))
    assert len(whole) == trials
    for stop in (trials - 2, 2 * trials - 1):
        folder = tmp_path / f"{stop}"
        folder.mkdir()
        first = driver(folder, sweep)
        done = facts(events(first, 1, stop, 0))
        first.ledger.close()
        rest = facts(events(driver(folder, sweep), 1, 1000, 0))
        assert sorted({*done, *rest}) == sorted(whole)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", marked(*SAMPLERS))
@given(slots=st.integers(1, 4), stop=st.integers(1, 90), seed=st.integers(0, 3))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_new_proposer_knows_what_the_old_one_knew(
    tmp_path: Path, sampler: str, slots: int, stop: int, seed: int
) -> None:
    """Several slots: ends come in any order. The very next proposal of a driver that only read the ledger is that of
    the driver that wrote it."""
    sweep = load(tmp_path, SPACE, f"budget.sampler={sampler}")
    folder, copy = tmp_path / "old", tmp_path / "new"
    for path in (folder, copy):
        shutil.rmtree(path, ignore_errors=True)
    folder.mkdir()
    old = driver(folder, sweep)
    events(old, slots, stop if sampler != "gp" else stop // 3, seed)
    old._collect()
    shutil.copytree(folder, copy)
    new = driver(copy, sweep)
    assert _next_proposals(new, 3) == _next_proposals(old, 3)
    old.ledger.close()
    new.ledger.close()


def _next_proposals(book: Driver, count: int) -> list[tuple[int, str]]:
    """What is proposed next, beside what runs and waits."""
    known = set(book.ledger.rows)
    found: list[tuple[int, str]] = []
    while len(found) < count and (row := book.next_row()) is not None:
        if row.key not in known:
            found.append((row.number, row.key))
    return found


def test_a_sampler_for_each_name_of_the_sweep_file() -> None:
    assert get_args(Budget.model_fields["sampler"].annotation) == SAMPLERS


def test_qmc_spreads_over_every_dimension_and_needs_no_result(tmp_path: Path) -> None:
    """Each half and each quarter of a parameter gets its share, as random points do not give it."""
    text = SPACE.replace("trials: 24", "trials: 65")
    book = driver(tmp_path, load(tmp_path, text, "budget.sampler=qmc"))
    rows = events(book, 1, 10_000, 0)[1:]  # after the defaults
    place = [math.log(row.params["train.lr"] / 1e-3) / math.log(300) for row in rows]
    assert [sum(k / 4 <= p < (k + 1) / 4 for p in place) for k in range(4)] == [16, 16, 16, 16]
    modes = [sum(row.params["centre_mode"] == mode for row in rows) for mode in ("attract", "proto", "off")]
    assert max(modes) - min(modes) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["cmaes", "gp", "nsga2"])
def test_it_learns(tmp_path: Path, sampler: str) -> None:
    """Late proposals are better than those of a random search on the same budget."""
    means = {}
    trials = 60 if sampler != "gp" else 24
    for name in (sampler, "random"):
        late = []
        for seed in range(2):
            folder = tmp_path / f"{name}{seed}"
            folder.mkdir()
            text = SPACE.replace("trials: 24", f"trials: {trials}")
            book = driver(folder, load(folder, text, f"budget.sampler={name}", f"seed={seed}"))
            late += [worth(row) for row in events(book, 1, 10_000, seed) if row.number >= trials * 2 // 3]
        means[name] = sum(late) / len(late)
    assert means[sampler] > means["random"]
