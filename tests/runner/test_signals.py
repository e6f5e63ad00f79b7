"""Ctrl-C and SIGTERM at real sweeps: what is saved, what is said, what goes on afterwards."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from tests.long import long
from tests.runner.door import sweep
from tests.runner.processes import alive, below, count, events, start, wait_for
from tests.runner.test_sweep_door import table

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

SPACE = """
name: small
methods: [supervised]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 600, evaluations: 2, batch_size: 16}
search: {train.lr: {log_uniform: [1e-3, 0.3]}}
budget: {trials: 1, scheduler: none}
resources: {concurrent: 1}
tracking: none
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SPACE)
    return path


def to_driver(driver: psutil.Process, number: int) -> None:
    driver.send_signal(number)


def to_driver_and_group(driver: psutil.Process, number: int) -> None:
    """As `timeout` does, and a shell's Ctrl-C but for the first of the two."""
    driver.send_signal(number)
    os.killpg(driver.pid, number)


def to_all(driver: psutil.Process, number: int) -> None:
    """As systemd and Slurm do: to every process of the job."""
    for process in [*driver.children(recursive=True), driver]:
        process.send_signal(number)


@pytest.mark.parametrize(
    ("number", "code", "send"),
    [
        (signal.SIGINT, 130, to_driver),
        pytest.param(signal.SIGTERM, 143, to_driver, marks=long),
        (signal.SIGTERM, 143, to_driver_and_group),
        pytest.param(signal.SIGINT, 130, to_driver_and_group, marks=long),
        pytest.param(signal.SIGTERM, 143, to_all, marks=long),
    ],
)
def test_the_first_signal_saves_between_evaluations_and_the_same_command_goes_on_there(
    tmp_path, space, number, code, send
):
    driver = start(space, "--results", tmp_path / "r")
    ledger = tmp_path / "r" / "small" / "ledger.jsonl"
    wait_for(lambda: count(ledger, "reported"))
    time.sleep(0.1)
    mine = below(driver.pid)
    begin = time.monotonic()
    send(psutil.Process(driver.pid), number)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == code, output
    assert send is to_driver or time.monotonic() - begin < 20
    assert "trials save where they are" in output and "once more ends it at once" in output
    assert "preempted" in output and "Traceback" not in output
    wait_for(lambda: not alive(mine), 20)
    last = events(ledger)[-1]
    assert last["event"] == "ended" and last["outcome"] == "preempted"
    saved = torch.load(tmp_path / "r" / "small" / "checkpoints" / f"{last['key']}.pt", weights_only=True)
    assert saved["step"] % 300, "it was saved at an evaluation, not where it was"
    assert sweep(space, "--results", tmp_path / "r").returncode == 0
    assert sweep(space, "--results", tmp_path / "u").returncode == 0
    mine, whole = (table(tmp_path / name).drop(columns="seconds") for name in ("r", "u"))
    pd.testing.assert_frame_equal(mine, whole)


@pytest.mark.parametrize("pause", [pytest.param(0.0, marks=long), 0.05, pytest.param(0.4, marks=long)])
def test_the_second_signal_ends_everything_at_once_and_the_ledger_is_whole(tmp_path, space, pause):
    driver = start(space, "--results", tmp_path / "r", "train.evaluations=30")
    ledger = tmp_path / "r" / "small" / "ledger.jsonl"
    wait_for(lambda: count(ledger, "reported"))
    mine = below(driver.pid)
    os.kill(driver.pid, signal.SIGINT)
    time.sleep(pause)
    if driver.poll() is None:
        os.kill(driver.pid, signal.SIGTERM if pause == 0.05 else signal.SIGINT)
    output, _ = driver.communicate(timeout=10)
    assert driver.returncode in (130, 143), output
    wait_for(lambda: not alive(mine), 10)  # a killed process takes a moment to give its memory back
    before = ledger.read_text()
    assert before.endswith("\n") and count(ledger, "reported")
    again = sweep(space, "--results", tmp_path / "r", "train.evaluations=30")
    assert again.returncode == 0, again.stdout + again.stderr
    assert ledger.read_text().startswith(before)


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("imports", signal.SIGINT, 130),
        ("ray", signal.SIGTERM, 143),
        pytest.param("imports", signal.SIGTERM, 143, marks=long),
        pytest.param("ray", signal.SIGINT, 130, marks=long),
    ],
)
def test_a_signal_before_any_trial_runs(tmp_path, space, number, code, moment):
    driver = start(space, "--results", tmp_path / "r", PYTHONUNBUFFERED="1")
    if moment == "ray":
        assert "starting Ray" in driver.stdout.readline()
        wait_for(lambda: below(driver.pid), 20)  # its first process is there, the others are not
    else:
        wait_for(lambda: "libtorch" in Path(f"/proc/{driver.pid}/maps").read_text(), 60)
    mine = below(driver.pid)
    os.kill(driver.pid, number)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == code, output
    assert "Traceback" not in output and "interrupted" in output
    wait_for(lambda: not alive(mine), 20)
    assert count(tmp_path / "r" / "small" / "ledger.jsonl", "started") == 0
    assert sweep(space, "--results", tmp_path / "r", "train.steps=12").returncode in (0, 2)
