"""A small sweep in real processes to which something happens, and what has to be true of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from tests.runner.door import ROOT, command

STEPS, EVALUATIONS, TRIALS = 24, 6, 5
INTERVAL = STEPS // EVALUATIONS

PLUGIN = '''"""Supervised training that writes a line per step: which trial, which step."""
import os
import time

from torch.nn.functional import cross_entropy

from methods.base import Method, Terms


class Logged(Method):
    """Cross-entropy on the labelled images."""

    def loss(self, batch):
        time.sleep(float(os.environ["STEP_SECONDS"]))
        with open(os.environ["STEP_LOG"], "ab", buffering=0) as log:
            log.write(f"{self.hyper.model_ema!r} {batch.step}\\n".encode())
        return Terms(labelled=cross_entropy(self.model(batch.labelled.x), batch.labelled.y))
'''

SPACE = """
name: faulty
methods: [./logged.py]
data: {data}
labels: {{per_class: 2}}
train: {{steps: {steps}, evaluations: {evaluations}, batch_size: 8}}
search:
  model_ema: {{uniform: [0.9, 0.999]}}
  train.lr: {{log_uniform: [1e-3, 0.3]}}
budget: {{trials: {trials}, {budget}}}
resources: {{concurrent: {slots}}}
{more}
"""

BUDGETS = {1: "scheduler: asha", 2: "scheduler: none, sampler: random"}
"""By slots. What ASHA and TPE do with two slots depends on which trial is faster: no two runs need be equal."""


@dataclass
class Scene:
    """`folder` holds all of it. `tracking` is a URI; the first one is a sqlite file in the folder."""

    folder: Path
    empty_database: Path
    slots: int = 1
    step_seconds: float = 0.03
    tracking: str = ""
    data: str = "{source: digits, limit: 100}"
    more: str = ""  # further lines of the sweep file
    environment: dict[str, str] = field(default_factory=dict)
    kills: int = 0
    record: Callable[[str, Any], None] = lambda name, value: None
    drivers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        numbers = {"steps": STEPS, "evaluations": EVALUATIONS, "trials": TRIALS, "slots": self.slots}
        text = SPACE.format(**numbers, budget=BUDGETS[self.slots], data=self.data, more=self.more)
        (self.folder / "logged.py").write_text(PLUGIN)
        (self.folder / "faulty.yaml").write_text(text)
        if not self.tracking:
            self.tracking = f"sqlite:///{self.folder}/mlflow.db"
            shutil.copy(self.empty_database, self.folder / "mlflow.db")

    # -- running -------------------------------------------------------------------------------------------------------

    @property
    def results(self) -> Path:
        return self.folder / "results" / "faulty"

    @property
    def ledger(self) -> Path:
        return self.results / "ledger.jsonl"

    def start(self) -> psutil.Process:
        """The driver, in a session of its own. What it prints is added to `output`."""
        words = (self.folder / "faulty.yaml", "--results", self.folder / "results", f"tracking={self.tracking}")
        logs = {"STEP_LOG": str(self.folder / "steps.log"), "STEP_SECONDS": str(self.step_seconds)}
        with (self.folder / "output.txt").open("ab") as output:
            driver = subprocess.Popen(
                command(*words),
                cwd=ROOT,
                env=os.environ | logs | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.drivers.append(driver)
        return psutil.Process(driver.pid)

    def finish(self, runs: int = 3) -> None:
        """The same command until it has nothing more to do."""
        for _ in range(runs):
            self.start()
            if self.wait() == 0:
                return
        pytest.fail(f"the sweep does not end:\n{self.output[-5000:]}")

    def wait(self, seconds: float = 150) -> int:
        """The driver's exit code."""
        try:
            return self.drivers[-1].wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the driver hangs:\n{self.output[-5000:]}")

    @property
    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def end(self) -> None:
        """Whatever is left of this scene's sessions."""
        sessions = {driver.pid for driver in self.drivers}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) in sessions:
                    process.kill()
        for driver in self.drivers:
            driver.wait()

    # -- moments and faults --------------------------------------------------------------------------------------------

    @property
    def steps(self) -> list[str]:
        """The trial of every step that was made, by its model_ema."""
        path = self.folder / "steps.log"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def until(self, what: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait, as long as the driver lives."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := what():
                return found
            if self.drivers[-1].poll() is not None:
                break
            time.sleep(0.02)
        pytest.fail(f"it did not happen:\n{self.output[-5000:]}")

    def some_moment(self, chance: random.Random, at_most: int = 20) -> None:
        """Some steps after those made so far, and a fraction of a step more."""
        goal = len(self.steps) + chance.randint(1, at_most)
        ended = lambda: self.ledger.exists() and self.ledger.read_bytes().count(b'"ended"') >= TRIALS - 1  # noqa: E731
        self.until(lambda: len(self.steps) >= goal or ended())
        time.sleep(chance.uniform(0, 4 * self.step_seconds))

    def kill(self, name: str, driver: psutil.Process) -> None:
        """kill -9: the `driver`, or a process below it by a part of the program's name."""
        (driver if name == "driver" else self.find(name, driver)).kill()
        self.kills += 1
        if name == "driver":
            self.wait()

    def find(self, name: str, driver: psutil.Process) -> psutil.Process:
        """The process below the driver with `name` in its title, waited for."""

        def one() -> psutil.Process | None:
            for process in driver.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if name in (process.cmdline() or [""])[0]:
                        return process
            return None

        return self.until(one)

    # -- what has to be true -------------------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """trials.csv without what depends on the clock."""
        return scene_table(self.results / "trials.csv")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ledger.read_text().splitlines()]

    def check(
        self, undisturbed: pd.DataFrame, lost_steps: int | None = None, lost: tuple[str, int] | None = None
    ) -> None:
        """All that a user may expect after faults. lost_steps: allowed beside an interval per kill and live trial.

        lost: trial and step of the one evaluation that MLflow need not have, since the ledger's line of it was damaged.
        """
        pd.testing.assert_frame_equal(self.table(), undisturbed)
        self._check_ledger(set(undisturbed.key))
        allowed = (lost_steps or 0) + self.kills * self.slots * INTERVAL
        needed = {repr(row["hp.model_ema"]): row["steps"] for _, row in undisturbed.iterrows()}
        made = Counter(self.steps)
        assert set(made) == set(needed)
        again = {trial: made[trial] - needed[trial] for trial in needed}
        assert min(again.values()) >= 0, f"steps that were never made: {again}"
        assert sum(again.values()) <= allowed, f"made again: {again}; allowed after {self.kills} kills: {allowed}"
        self._check_mlflow(undisturbed, lost)
        self.record("kills", self.kills)

    def _check_ledger(self, keys: set[str]) -> None:
        ended: dict[str, str] = {}
        for event in self.events():
            if (key := event.get("key")) and event["event"] in ("started", "reported", "ended"):
                assert key not in ended, f"{key} was {ended.get(key)}, and then {event['event']}"
                if event["event"] == "ended" and event["outcome"] != "preempted":
                    ended[key] = event["outcome"]
        assert set(ended) == keys

    def _check_mlflow(self, undisturbed: pd.DataFrame, lost: tuple[str, int] | None) -> None:
        """One run per trial, ended as the ledger says, with every evaluation once."""
        from mlflow import MlflowClient

        client = MlflowClient(self.tracking)
        experiment = client.get_experiment_by_name("faulty")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], "tags.`kurabe.kind` = 'trial'", max_results=1000)
        assert sorted(run.data.tags["kurabe.trial_key"] for run in runs) == sorted(undisturbed.key)
        rows = {row["key"]: row for _, row in undisturbed.iterrows()}
        for run in runs:
            row = rows[run.data.tags["kurabe.trial_key"]]
            assert run.data.tags["kurabe.outcome"] == row["outcome"]
            assert run.info.status == {"completed": "FINISHED", "pruned": "KILLED"}[row["outcome"]]
            curve = client.get_metric_history(run.info.run_id, "noisy_val_accuracy")
            steps = sorted(point.step for point in curve)
            if lost and lost[0] == row["key"] and lost[1] not in steps:
                steps = sorted([*steps, lost[1]])
            assert steps == list(range(INTERVAL, row["steps"] + 1, INTERVAL))


def scene_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).drop(columns="seconds")


def terminate(driver: psutil.Process) -> None:
    """As a machine does that is about to be taken away."""
    driver.send_signal(signal.SIGTERM)
