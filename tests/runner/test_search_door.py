"""Real sweeps: a population over real trials, interrupted and not; every sampler; two objectives."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.long import long
from tests.runner.door import sweep
from tests.runner.processes import start, wait_for
from tests.runner.test_sweep_door import table

pytestmark = [pytest.mark.ray, pytest.mark.timeout(500)]

SMALL = """
name: small
methods: [fixmatch]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 60, evaluations: 6, batch_size: 8}
seed: 1  # with 0 no trial is of the worst quarter
search:
  train.lr: {log_uniform: [1e-3, 0.3]}
  lambda_u: {log_uniform: [0.1, 4.0]}
  uratio: {int_uniform: [1, 3]}
budget: {trials: 8, scheduler: pbt, sampler: random}
resources: {concurrent: 1}
tracking: none
"""


def write(folder: Path) -> Path:
    path = folder / "small.yaml"
    path.write_text(SMALL)
    return path


def test_a_population_interrupted_is_the_undisturbed_one(tmp_path: Path) -> None:
    space = write(tmp_path)
    done = sweep(space, "--results", tmp_path / "u")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "search (random): " in done.stdout
    rows = table(tmp_path / "u")
    children = rows[rows.parent.notna()]
    assert len(children) == (rows.outcome == "pruned").sum() > 0
    starts = children.parent.str.split("@").str[1].astype(int) * 10
    assert rows.steps.sum() - starts.sum() == 8 * 60
    for key, child in children.iterrows():
        parent = rows.loc[child.parent.split("@")[0]]
        assert child["hp.uratio"] == parent["hp.uratio"]
        assert (child["hp.train.lr"], child["hp.lambda_u"]) != (parent["hp.train.lr"], parent["hp.lambda_u"]), key
    assert not list((tmp_path / "u" / "small" / "checkpoints").glob("*@*"))
    ledger = tmp_path / "r" / "small" / "ledger.jsonl"
    for _ in range(2 if "KURABE_LONG" in os.environ else 1):
        driver = start(space, "--results", tmp_path / "r")
        before = _ends(ledger)
        wait_for(lambda before=before: _ends(ledger) >= before + 3)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    assert sweep(space, "--results", tmp_path / "r").returncode == 0
    mine, whole = (frame.drop(columns="seconds").sort_index() for frame in (table(tmp_path / "r"), rows))
    pd.testing.assert_frame_equal(mine[sorted(mine)], whole[sorted(whole)])


def _ends(ledger: Path) -> int:
    return ledger.read_text().count('"event": "ended"') if ledger.exists() else 0


@long
@pytest.mark.parametrize(
    ("sampler", "scheduler"), [("qmc", "hyperband"), ("cmaes", "median"), ("gp", "none"), ("nsga2", "none")]
)
def test_the_same_sweep_twice_gives_the_same_table(tmp_path: Path, sampler: str, scheduler: str) -> None:
    space = write(tmp_path)
    tables = []
    for name in ("a", "b"):
        words = [f"budget.sampler={sampler}", f"budget.scheduler={scheduler}", "budget.trials=9", "train.steps=12"]
        done = sweep(space, *words, "--results", tmp_path / name)
        assert done.returncode == 0, done.stdout + done.stderr
        tables.append(table(tmp_path / name).drop(columns="seconds"))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert len(tables[0]) == 9


def test_two_objectives_give_a_front(tmp_path: Path) -> None:
    budget = "budget={trials: 6, sampler: nsga2, scheduler: none, objectives: [score, seconds]}"
    done = sweep(write(tmp_path), budget, "resources.concurrent=2", "--results", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    front = pd.read_csv(tmp_path / "small" / "pareto.csv")
    assert 1 <= len(front) <= 6 and front.seconds.is_monotonic_increasing
    assert front.score.is_monotonic_increasing
    assert f"Pareto front of fixmatch/0: {len(front)} trial" in done.stdout
    assert (tmp_path / "small" / "figures" / "pareto.png").exists()
