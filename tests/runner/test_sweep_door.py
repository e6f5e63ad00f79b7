"""Real sweeps in real processes: the same twice, failing trials, interruptions."""

from pathlib import Path

import pandas as pd
import pytest

from tests.runner.door import sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

SMALL = """
name: small
methods: [{methods}]
data: {{source: digits, limit: 300}}
labels: {{per_class: 4}}
train: {{steps: {steps}, evaluations: 4, batch_size: 16}}
search:
  model_ema: {{uniform: [0.9, 0.999]}}
  train.lr: {{log_uniform: [1e-3, 0.3]}}
budget: {{trials: {trials}}}
resources: {{concurrent: 1}}
tracking: none
"""


def write(folder: Path, methods: str = "supervised", steps: int = 12, trials: int = 4) -> Path:
    path = folder / "small.yaml"
    path.write_text(SMALL.format(methods=methods, steps=steps, trials=trials))
    return path


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "small" / "trials.csv").set_index("key")


def test_the_same_sweep_twice_gives_the_same_scores(tmp_path):
    space = write(tmp_path, "supervised, fixmatch")
    tables = []
    for name in ("a", "b"):
        done = sweep(space, "--results", tmp_path / name)
        assert done.returncode == 0, done.stdout + done.stderr
        tables.append(table(tmp_path / name).drop(columns="seconds"))
    assert len(tables[0]) == 8
    pd.testing.assert_frame_equal(tables[0], tables[1])
    again = sweep(space, "--results", tmp_path / "a")  # a third time there is nothing left to run
    assert again.returncode == 0
    pd.testing.assert_frame_equal(table(tmp_path / "a").drop(columns="seconds"), tables[0])
    assert len((tmp_path / "a" / "small" / "ledger.jsonl").read_text().splitlines()) == _lines(tmp_path / "b")


def _lines(folder: Path) -> int:
    return len((folder / "small" / "ledger.jsonl").read_text().splitlines())


BROKEN = '''
"""A plug-in that breaks in the middle of some trials."""
import torch
from methods.base import Method, Terms, hyper
from methods.ranges import uniform

class Brittle(Method):
    """Breaks at step 7 where the learning rate says so."""

    def loss(self, batch):
        ema = self.hyper.model_ema
        if batch.step == 7 and ema < 0.95:
            raise ArithmeticError(f"brittle at model_ema {ema}")
        loss = torch.nn.functional.cross_entropy(self.model(batch.labelled.x), batch.labelled.y)
        return Terms(labelled=loss * (float("nan") if batch.step == 7 and ema < 0.97 else 1))
'''


def test_failing_and_diverging_trials_are_recorded_and_the_sweep_goes_on(tmp_path):
    (tmp_path / "brittle.py").write_text(BROKEN)
    space = write(tmp_path, "./brittle.py, supervised", trials=6)
    done = sweep(space, "--results", tmp_path / "r", "budget.scheduler=none")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = table(tmp_path / "r")
    brittle = rows[rows.method == "brittle"]
    expected = ["failed" if e < 0.95 else "diverged" if e < 0.97 else "completed" for e in brittle["hp.model_ema"]]
    assert list(brittle.outcome) == expected and {"failed", "completed"} <= set(expected)
    assert (rows[rows.method == "supervised"].outcome == "completed").all()
    failed = brittle[brittle.outcome == "failed"].index[0]
    trace = (tmp_path / "r" / "small" / "errors" / f"{failed}.txt").read_text()
    assert "ArithmeticError: brittle at model_ema" in trace and "brittle.py" in trace
