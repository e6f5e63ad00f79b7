"""Trials that say nothing any more: how long that may take, what is found of them, that the sweep goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import ray
from ray.tune.experiment import Trial

from platform.runner.guards import out_of_memory, stack_dump, watchdog
from platform.runner.guards.watchdog import Watchdog
from platform.runner.messages import Progress, WorkerProcess, assignment_of
from tests.runner.door import sweep
from tests.runner.sweeps import assigned, driver, load


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Played:
    """A watchdog over trials played by hand."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> None:
        self.clock, self.killed, self.said = Clock(), [], []
        monkeypatch.setattr(watchdog, "time", self.clock)
        monkeypatch.setattr(ray, "kill", self.killed.append)
        monkeypatch.setattr(ray, "get", lambda reference, timeout=None: reference)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "here"))
        monkeypatch.setattr(stack_dump, "ask", lambda pid, path: f"stack of {pid}")
        self.driver = driver(folder, load(folder, SWEEP, *overrides))
        self.driver.notify = self.said.append
        self.dog = Watchdog(self.driver, folder / "errors")

    def start(self) -> Any:
        row = self.driver.next_row()
        process = WorkerProcess(node="here", pid=len(self.said) + 7, stacks="x", kernel_kills=3)
        actor = SimpleNamespace(process=SimpleNamespace(remote=lambda: process), name=row.key)
        trial: Any = SimpleNamespace(
            config=assigned(row, may_split=True).to_config(),
            temporary_state=SimpleNamespace(ray_actor=actor),
            status=Trial.RUNNING,
            max_failures=2,
            get_error=lambda: "ActorDiedError",
            row=row,
        )
        self.dog.on_trial_start(0, [], trial)
        return trial

    def wait(self, seconds: float) -> None:
        """The driver's loop runs on, ten times a second."""
        for _ in range(int(seconds * 10)):
            self.clock.now += 0.1
            self.dog.on_step_end(0, [])

    def report(self, trial: Any, **more: Any) -> None:
        self.dog.on_trial_result(0, [], trial, Progress(trial.row.key, **more).to_result())


SWEEP = """
name: small
methods: [supervised]
labels: {per_class: 4}
train: {steps: 20, evaluations: 4, batch_size: 16}
search: {train.lr: {log_uniform: [1e-3, 0.3]}}
budget: {trials: 9, scheduler: none}
watch: {factor: 5, at_least: 10, first: 100}
tracking: none
"""


def test_a_first_evaluation_has_the_time_of_first_ones(tmp_path, monkeypatch):
    play = Played(tmp_path, monkeypatch)
    first = play.start()
    play.wait(99)
    play.report(first)  # it took 99 s, compiled perhaps
    play.dog.on_trial_complete(0, [], first)
    second = play.start()
    play.wait(400)  # 5 x 99 are allowed now
    assert play.killed == []
    play.wait(100)
    assert [actor.name for actor in play.killed] == [second.row.key]


def test_later_ones_are_measured_by_what_is_usual_and_never_below_the_least(tmp_path, monkeypatch):
    play = Played(tmp_path, monkeypatch)
    slow, quick = play.start(), play.start()
    for _ in range(4):
        play.wait(4)
        play.report(slow)
        play.report(quick)
    play.wait(19)
    assert play.killed == []
    play.wait(3)
    assert {actor.name for actor in play.killed} == {slow.row.key, quick.row.key}


def test_what_is_left_of_it(tmp_path, monkeypatch):
    play = Played(tmp_path, monkeypatch)
    trial = play.start()
    play.wait(101)
    key = trial.row.key
    assert (tmp_path / "errors" / f"{key}.stack.txt").read_text() == "stack of 7\n"
    assert trial.max_failures == 0  # not started again within this run
    words = play.dog.cause(trial)
    assert words.startswith("stuck: nothing heard of it for 10") and f"{key}.stack.txt" in words
    assert len(play.said) == 1 and "supervised/0 #0 stuck" in play.said[0]
    play.driver.ended(key, "failed", words)
    assert play.driver.rows[key].reason == "stuck"
    play.wait(300)
    assert len(play.killed) == 1


def test_time_in_which_the_driver_itself_stood_still_counts_for_nobody(tmp_path, monkeypatch):
    play = Played(tmp_path, monkeypatch)
    play.start()
    play.wait(90)
    play.clock.now += 5000
    play.dog.on_step_end(0, [])
    play.wait(5)
    assert play.killed == []


def test_a_trial_that_waits_for_a_slot_is_not_stuck(tmp_path, monkeypatch):
    play = Played(tmp_path, monkeypatch)
    trial = play.start()
    trial.status = Trial.PAUSED
    play.wait(500)
    assert play.killed == []


def test_a_process_that_grew_too_large_is_replaced_and_that_is_no_failure(tmp_path, monkeypatch):
    play = Played(tmp_path, monkeypatch)
    trial = play.start()
    play.report(trial, outgrown=True)
    assert [actor.name for actor in play.killed] == [trial.row.key] and trial.max_failures == 3
    play.dog.on_trial_recover(0, [], trial)
    assert play.said == []


@pytest.mark.parametrize(
    ("error", "kills", "reason"),
    [
        ("ActorDiedError: The actor is dead", 3, "the worker was lost"),
        ("ActorDiedError: The actor is dead", 4, "out of memory (host)"),
        ("Task was killed due to the node running low on memory", 3, "out of memory (host)"),
    ],
)
def test_a_lost_process_is_distinguished_from_one_that_memory_ran_out_for(tmp_path, monkeypatch, error, kills, reason):
    play = Played(tmp_path, monkeypatch, "retry.out_of_memory=accumulate")
    monkeypatch.setattr(out_of_memory, "kernel_kills", lambda: kills)
    trial = play.start()
    trial.get_error = lambda: error
    play.dog.on_trial_recover(0, [], trial)
    parts = assignment_of(trial).parts
    assert parts == (2 if "memory" in reason else 1)
    assert len(play.said) == 1 and ("out of memory (host)" if "memory" in reason else "was lost") in play.said[0]
    other = play.start()
    other.get_error = lambda: error
    play.driver.ended(other.row.key, "failed", play.dog.cause(other))
    assert other.row.reason == reason


HANGS = '''
"""A plug-in that hangs in two ways, by its model_ema."""
import re
import time
import torch
from methods.base import Method, Terms

class Hangs(Method):
    """Sleeps for ever, or keeps the interpreter to itself for ever."""

    def loss(self, batch):
        if batch.step == 4 and self.hyper.model_ema == 0.9:
            time.sleep(10_000)
        if batch.step == 4 and self.hyper.model_ema == 0.91:
            re.match("(a+)+$", "a" * 64 + "b")
        return Terms(labelled=torch.nn.functional.cross_entropy(self.model(batch.labelled.x), batch.labelled.y))
'''

SPACE = """
name: small
methods: [./hangs.py]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 8, evaluations: 4, batch_size: 16}
search: {model_ema: {choice: [0.999, 0.9, 0.91, 0.99]}}
budget: {trials: 4, scheduler: none}
resources: {concurrent: 1}
watch: {at_least: 12}
tracking: none
"""


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_two_kinds_of_hanging_are_found_reported_and_ended_and_the_slot_works_again(tmp_path):
    (tmp_path / "hangs.py").write_text(HANGS)
    (tmp_path / "small.yaml").write_text(SPACE)
    done = sweep(tmp_path / "small.yaml", "--results", tmp_path / "r", timeout=350)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "r" / "small"
    rows = pd.read_csv(folder / "trials.csv").set_index("hp.model_ema")
    assert {ema: str(row.outcome) for ema, row in rows.iterrows()} == {
        0.999: "completed", 0.99: "completed", 0.9: "failed", 0.91: "failed"
    }  # fmt: skip
    assert set(rows.loc[[0.9, 0.91], "reason"]) == {"stuck"}
    for ema in (0.9, 0.91):
        dump = (folder / "errors" / f"{rows.loc[ema, 'key']}.stack.txt").read_text()
        assert "hangs.py" in dump and "in loss" in dump, dump
    assert done.stdout.count("stuck: nothing heard of it") >= 2
