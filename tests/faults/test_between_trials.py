"""A worker that is killed after a trial has ended and before the next one begins: the next one runs all the same."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil
import pytest

from tests.runner.processes import below, count, start, wait_for
from tests.runner.test_sweep_door import table, write

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

KILLS = 5


def actor(driver: int, but: set[int]) -> int | None:
    """Process id of the actor that trials run in."""
    for process in below(driver):
        with contextlib.suppress(psutil.Error):
            if process.pid not in but and "Trainable" in (process.cmdline() or [""])[0]:
                return process.pid
    return None


def test_a_worker_between_two_trials(tmp_path, record_property):
    space = write(tmp_path, trials=KILLS + 1)
    driver = start(space, "--results", tmp_path / "r", "budget.scheduler=none", "budget.sampler=random")
    ledger = tmp_path / "r" / "small" / "ledger.jsonl"
    killed: set[int] = set()
    for number in range(1, KILLS + 1):
        wait_for(lambda number=number: count(ledger, "started") >= number)
        worker = wait_for(lambda: actor(driver.pid, killed))
        size = ledger.stat().st_size
        while count(ledger, "ended") < number:
            while ledger.stat().st_size == size:
                assert driver.poll() is None
                time.sleep(0.0005)
            size = ledger.stat().st_size
        os.kill(worker, signal.SIGKILL)
        killed.add(worker)
    output, _ = driver.communicate(timeout=240)
    assert driver.returncode == 0, output
    rows = table(tmp_path / "r")
    assert list(rows.outcome) == ["completed"] * (KILLS + 1), output
    assert output.count("its process was lost before it began; it starts in another one") >= KILLS - 2, output
    record_property("kills", KILLS)
