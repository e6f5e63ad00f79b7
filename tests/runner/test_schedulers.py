"""Who is stopped where: the rules are Ray's, one per study, and a sweep that was interrupted stops the same trials."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler

from platform.core.row import Row, steps_made
from platform.core.rungs import brackets, shares
from platform.core.spec import branch_point
from platform.core.stopping_rules import MEDIAN_SAMPLES
from platform.dry_run.scheduler_simulation import forecast_median
from platform.runner.driver import Driver
from platform.runner.messages import Progress
from platform.runner.tune import schedulers
from platform.runner.tune.branch_states import BranchStates
from platform.runner.tune.callbacks import EventCallback
from platform.runner.tune.schedulers import HalvingRule, MedianRule, StudyScheduler
from tests.runner.sweeps import assigned, driver, load

SPACE = """
name: judged
methods: [pseudo_label]
labels: {per_class: 4}
train: {steps: 100, evaluations: 10}
search:
  model_ema: {uniform: [0.9, 0.999]}
  train.lr: {log_uniform: [1e-3, 0.3]}
  uratio: {int_uniform: [1, 5]}
budget: {trials: 14, sampler: random}
tracking: none
"""


def study(tmp_path: Path, *overrides: str) -> Any:
    return load(tmp_path, SPACE, *overrides).studies()[0]


def row(number: int) -> Any:
    return SimpleNamespace(key=f"k{number}", number=number)


def stream(trials: int, seed: int) -> list[tuple[int, int, float]]:
    """(trial, evaluation, score) as they might come in: each trial's in order, the trials mixed."""
    generator = random.Random(seed)
    left = [number for number in range(trials) for _ in range(10)]
    generator.shuffle(left)
    level, seen = [generator.random() for _ in range(trials)], Counter[int]()
    found = []
    for number in left:
        seen[number] += 1
        found.append((number, seen[number], level[number] + 0.3 * generator.random()))
    return found


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("factor", "grace"), [(3, 1), (2, 2), (4, 3)])
def test_asha_is_rays(tmp_path: Path, factor: int, grace: int, sign: int) -> None:
    ours = HalvingRule(study(tmp_path), 10, factor, grace, sign, several=False)
    mode = "max" if sign > 0 else "min"
    rays = AsyncHyperBandScheduler("evaluation", "score", mode, 10, grace, factor)
    stopped: set[int] = set()
    for number, evaluation, score in stream(20, factor):
        if number in stopped or evaluation == 10:
            continue
        trial: Any = SimpleNamespace(trial_id=str(number))
        if evaluation == 1:
            rays.on_trial_add(None, trial)  # type: ignore[arg-type]
        result = {"evaluation": evaluation, "score": score}
        stops = rays.on_trial_result(None, trial, result) == "STOP"  # type: ignore[arg-type]
        assert ours.stops(row(number), evaluation, score) == stops
        stopped |= {number} if stops else set()
    assert 5 < len(stopped) < 20


def test_hyperband_compares_each_trial_in_its_bracket_and_draws_that_from_its_seed(tmp_path: Path) -> None:
    ours = HalvingRule(study(tmp_path), 10, 3, 1, 1, several=True)
    again = HalvingRule(study(tmp_path), 10, 3, 1, 1, several=True)
    other = HalvingRule(study(tmp_path, "seed=5"), 10, 3, 1, 1, several=True)
    drawn = [ours.bracket(row(n)) for n in range(2000)]
    assert drawn == [again.bracket(row(n)) for n in range(2000)] != [other.bracket(row(n)) for n in range(2000)]
    parts = Counter(drawn)
    for place, share in enumerate(shares(brackets(10, 3, 1))):
        assert parts[place] / 2000 == pytest.approx(share, abs=0.03)
    last: dict[int, int] = {}
    stopped: dict[int, int] = {}
    for number, evaluation, score in stream(300, 1):
        if number in stopped or evaluation == 10:
            continue
        if ours.stops(row(number), evaluation, score):
            stopped[number] = evaluation
        last[number] = evaluation
    for place, marks in enumerate(brackets(10, 3, 1)):
        where = {stopped[n] for n in stopped if drawn[n] == place}
        assert where == set(marks)  # the last bracket stops nothing


def test_the_median_rule_needs_three_others_and_never_pauses() -> None:
    rule = MedianRule(grace=2, sign=1)
    for number, score in enumerate((0.1, 0.5, 0.9)):
        assert not any(rule.stops(row(number), evaluation, score) for evaluation in range(1, 10))
    assert not rule.stops(row(3), 1, 0.4)  # still in its grace
    assert rule.stops(row(3), 2, 0.4)
    assert not any(rule.stops(row(4), evaluation, 0.6) for evaluation in range(1, 10))
    lower = MedianRule(grace=1, sign=-1)
    for number, score in enumerate((0.1, 0.5, 0.9)):
        lower.stops(row(number), 1, score)
    assert not lower.stops(row(3), 1, 0.4) and lower.stops(row(4), 1, 0.6)


def test_the_dry_run_forecasts_what_the_median_rule_does() -> None:
    """Trials that keep their rank, one after the other."""
    generator, finished = random.Random(0), 0
    for _ in range(60):
        rule = MedianRule(grace=1, sign=1)
        for number in range(12):
            score = generator.random()
            finished += not any(rule.stops(row(number), evaluation, score) for evaluation in range(1, 6))
    assert finished / 60 == pytest.approx(forecast_median(12, 6, 1, MEDIAN_SAMPLES).finish, rel=0.06)


def test_no_evaluation_counts_twice() -> None:
    rule = MedianRule(grace=1, sign=1)
    for number in range(3):
        rule.stops(row(number), 1, 0.9)
    rule.record(row(3), 1, 0.1)
    assert not rule.stops(row(3), 1, 0.1)
    assert rule.stops(row(3), 2, 0.1) is False  # nobody else is there yet


# -- whole sweeps, one slot, without Ray -----------------------------------------------------------------------------


def score(key: str, evaluation: int) -> float:
    generator = random.Random(key.partition("@")[0])
    return generator.random() + 0.5 * math.sin(evaluation + 7 * generator.random())


def drive(book: Driver, folder: Path, count: int = 10_000, ahead: int = 0) -> list[Row]:
    """Play `count` evaluations as Tune sends them: the scheduler first, then the driver. Rows in order of start.

    ahead: by how many evaluations the checkpoint of a trial that comes back is ahead of the ledger.
    """
    scheduler = schedulers.make(book, BranchStates(folder))
    started: list[Row] = []
    while count > 0 and (row := book.next_row()) is not None:
        started.append(row)
        book.ask_ahead()
        own = branch_point(row.spec.parent)[1] + 1
        known = int(row.reports[-1]["evaluation"]) if row.reports else own - 1
        # A trial that comes back sends all its evaluations again.
        again = [range(own, min(known + ahead, 10) + 1)] if row.reports else []
        rest = (range(n, n + 1) for n in range(again[0].stop if again else own, 11))
        for evaluations in [*again, *rest]:
            if count == 0:
                return started
            count -= 1
            (folder / f"{row.key}.pt").write_text(f"{row.key} {evaluations[-1]}")
            _send(book, scheduler, row, *evaluations)
            if row.outcome is not None:
                break
    return started


def _send(book: Driver, scheduler: StudyScheduler | None, row: Row, *evaluations: int) -> None:
    reports = [
        {"evaluation": float(n), "step": n * 10.0, "seconds": n * 1.0, "score": score(row.key, n)} for n in evaluations
    ]
    last = evaluations[-1] == 10
    result = Progress(row.key, reports, outcome="completed" if last else None).to_result()
    trial: Any = SimpleNamespace(config=assigned(row).to_config())
    if scheduler is not None and last:
        scheduler.on_trial_complete(None, trial, result)
    elif scheduler is not None:
        result["done"] = scheduler.on_trial_result(None, trial, result) == "STOP"
    EventCallback(book, lambda row: None, str).on_trial_result(0, [], trial, result)


def facts(rows: list[Row]) -> set[tuple[Any, ...]]:
    return {(r.key, r.number, r.outcome, r.steps, r.score, r.spec.parent) for r in rows if r.outcome is not None}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("hyperband", "none")]


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["asha", "median", "pbt", *SLOW])
def test_interrupted_anywhere_the_same_trials_are_stopped(tmp_path: Path, scheduler: str) -> None:
    sweep = load(tmp_path, SPACE, f"budget.scheduler={scheduler}")

    def fresh(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        return folder

    whole = fresh("whole")
    undisturbed = facts(drive(driver(whole, sweep), whole))
    outcomes = Counter(outcome for _, _, outcome, *_ in undisturbed)
    assert outcomes["completed"] and bool(outcomes["pruned"]) == (scheduler != "none")
    tried = set()
    for stop, ahead in product((17, 31, 44), (0, 1, 2)):
        folder = fresh(f"{stop} {ahead}")
        first = driver(folder, sweep)
        drive(first, folder, stop)
        first.ledger.close()  # killed: nothing more is written
        # The checkpoint may be one evaluation ahead of the ledger; two, where its last line was torn.
        lines = (folder / "ledger.jsonl").read_text().splitlines(keepends=True)
        if not all('"reported"' in line for line in lines[len(lines) - ahead - 1 :]):
            continue
        (folder / "ledger.jsonl").write_text("".join(lines[: len(lines) - ahead]))
        tried.add(ahead)
        second = driver(folder, sweep)
        drive(second, folder, ahead=ahead)
        assert facts(list(second.rows.values())) == undisturbed
        second.ledger.close()
    assert tried == {0, 1, 2}


def test_a_population_costs_its_size_times_its_steps(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, "budget={trials: 14, scheduler: pbt, grace: 2, sampler: random}")
    book = driver(tmp_path, sweep)
    rows = drive(book, tmp_path)
    children = [row for row in rows if row.spec.parent]
    pruned = [row for row in rows if row.outcome == "pruned"]
    assert len(children) == len(pruned) > 2 and len(rows) == 14 + len(children)
    assert sum(steps_made(row) for row in rows) == 14 * 100
    by_key = {row.key: row for row in rows}
    for child, loser in zip(children, pruned, strict=True):
        key, mark = branch_point(child.spec.parent)
        parent = by_key[key]
        assert mark == loser.reports[-1]["evaluation"] and mark % 2 == 0
        assert _at(parent, mark) > _at(loser, mark)
        assert child.params["uratio"] == parent.params["uratio"]  # does not act in flight
        assert child.params != parent.params
        own = [int(report["evaluation"]) for report in child.reports]
        assert own == list(range(mark + 1, own[-1] + 1))
        assert 1e-3 <= child.params["train.lr"] <= 0.3 and 0.9 <= child.params["model_ema"] <= 0.999


def _at(row: Row, mark: int) -> float:
    return next(report["score"] for report in row.reports if report["evaluation"] == mark)


def test_states_are_kept_as_long_as_a_child_may_start_from_them(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, "budget={trials: 14, scheduler: pbt, grace: 2, sampler: random}")
    book = driver(tmp_path, sweep)
    scheduler, count = schedulers.make(book, BranchStates(tmp_path)), 0
    while (row := book.next_row()) is not None:
        if row.spec.parent:
            key, mark = branch_point(row.spec.parent)
            assert (tmp_path / f"{row.spec.parent}.pt").read_text() == f"{key} {mark}"  # as it was at the mark
            count += 1
        for evaluation in range(branch_point(row.spec.parent)[1] + 1, 11):
            (tmp_path / f"{row.key}.new").write_text(f"{row.key} {evaluation}")
            (tmp_path / f"{row.key}.new").replace(tmp_path / f"{row.key}.pt")  # as a trial writes it: anew
            _send(book, scheduler, row, evaluation)
            if row.outcome is not None:
                break
        assert len(list(tmp_path.glob("*@*.pt"))) <= 4 * math.ceil(14 / 4) + 1
    assert count > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheduler", "key", "value"),
    [*((name, "outcome", "pruned") for name in ("asha", "median", "pbt")), ("pbt", "replaces", None)],
)
def test_the_last_line_that_was_not_written_any_more_is_made_up_for(
    tmp_path: Path, scheduler: str, key: str, value: str | None
) -> None:
    """Killed between a report and the end that it brings about; between an end and the child that follows."""
    sweep = load(tmp_path, SPACE, f"budget.scheduler={scheduler}")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    undisturbed = facts(drive(driver(whole, sweep), whole))
    lines = (whole / "ledger.jsonl").read_text().splitlines(keepends=True)
    found = [json.loads(line).get(key) for line in lines]
    end = next(i for i, there in enumerate(found) if there and value in (None, there))
    (cut / "ledger.jsonl").write_text("".join(lines[:end]))
    book = driver(cut, sweep)
    drive(book, cut)
    assert facts(list(book.rows.values())) == undisturbed


def test_a_child_whose_proposal_was_damaged_stays_the_successor_of_its_row(tmp_path: Path) -> None:
    """Killed when everything was over; one line that says whose successor a child is was damaged meanwhile."""
    sweep = load(tmp_path, SPACE, "budget={trials: 14, scheduler: pbt, grace: 2, sampler: random}")
    whole = tmp_path / "whole"
    whole.mkdir()
    undisturbed = facts(drive(driver(whole, sweep), whole))
    lines = (whole / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    children = [i for i, line in enumerate(lines) if json.loads(line).get("replaces")]
    assert len(children) > 2
    for number in children:
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = [*lines[:number], lines[number].replace(b'"asked"', b'"asket"'), *lines[number + 1 :]]
        (folder / "ledger.jsonl").write_bytes(b"".join(damaged))
        book = driver(folder, sweep)
        assert f"ledger.jsonl:{number + 1}: " in book.ledger.repaired
        assert book.next_row() is None and facts(list(book.rows.values())) == undisturbed
        book.ledger.close()
