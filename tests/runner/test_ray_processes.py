"""What a killed driver leaves behind is found by its environment and ended; nothing else ever is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from platform.runner.guards.ray_processes import SWEEP_VARIABLE, end_orphans, owned_by_sweep, start_time
from tests.runner.door import sweep
from tests.runner.processes import alive, below, count, start, wait_for

SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(100)"]


def sleeper(owner: str) -> psutil.Process:
    process = subprocess.Popen(
        SLEEP, env=os.environ | {SWEEP_VARIABLE: owner}, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    return psutil.Process(process.pid)


def test_only_processes_of_this_folder_whose_driver_is_gone_are_ended(tmp_path):
    driver = subprocess.Popen([sys.executable, "-c", "pass"])
    dead = f"{driver.pid}|{start_time(driver.pid) or '1'}"
    driver.wait()
    mine, other = tmp_path / "mine", tmp_path / "mine2"
    me = f"{os.getpid()}|{start_time(os.getpid())}"
    kept = [
        sleeper(f"{other.resolve()}|{dead}"),  # another sweep's, although its name begins alike
        sleeper(f"{mine.resolve()}|{me}"),  # its driver lives
        sleeper("nonsense"),
    ]
    gone = [
        sleeper(f"{mine.resolve()}|{dead}"),
        sleeper(f"{mine.resolve()}|{os.getpid()}|12"),  # a driver's number that another process has by now
    ]
    try:
        assert end_orphans(mine) == 2
        assert not alive(gone) and len(alive(kept)) == 3
        assert end_orphans(mine) == 0
    finally:
        for process in alive(kept + gone):
            process.kill()


def test_the_variable_is_set_for_what_is_started_inside_only(tmp_path):
    before = dict(os.environ)
    with owned_by_sweep(tmp_path):
        words = os.environ[SWEEP_VARIABLE]
        assert words == f"{tmp_path.resolve()}|{os.getpid()}|{start_time(os.getpid())}"
    assert dict(os.environ) == before


SPACE = """
name: small
methods: [supervised]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 1200, evaluations: 40, batch_size: 16}
budget: {trials: 1}
resources: {concurrent: 1}
tracking: none
"""


def listening(processes: list[psutil.Process]) -> set[str]:
    """Addresses that they wait for connections at."""
    found = set()
    for process in processes:
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections("inet")
            found |= {c.laddr.ip.removeprefix("::ffff:") for c in connections if c.status == psutil.CONN_LISTEN}
    return found


def carrying(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(SWEEP_VARIABLE, "").startswith(f"{folder.resolve()}|"):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_after_a_kill_9_the_next_start_leaves_none_of_the_old_processes_and_all_of_another_sweeps(tmp_path, short_tmp):
    """And none of its files. Until the kill everything listens on this machine only."""
    path = tmp_path / "small.yaml"
    path.write_text(SPACE)
    temporary = {"TMPDIR": str(short_tmp)}
    killed, other = (start(path, "--results", tmp_path / name, **temporary) for name in ("killed", "other"))
    ledgers = [tmp_path / name / "small" / "ledger.jsonl" for name in ("killed", "other")]
    try:
        for ledger in ledgers:
            wait_for(lambda ledger=ledger: count(ledger, "reported"))
        old, theirs = below(killed.pid), below(other.pid)
        assert len(old) >= 5, old  # servers, workers and agents
        assert listening([psutil.Process(killed.pid), *old]) == {"127.0.0.1"}
        assert {p.pid for p in alive(old)} <= {p.pid for p in carrying(ledgers[0].parent)}
        stray = subprocess.Popen(  # what survives: started by a worker, in a session of its own
            SLEEP,
            env=os.environ | {SWEEP_VARIABLE: old[0].environ()[SWEEP_VARIABLE]},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        half = ledgers[0].parent / "checkpoints" / ".KEY.pt.0a1b2c3d.new"
        half.touch()
        left = {note.parent for note in short_tmp.glob("*/OWNER") if str(ledgers[0].parent) in note.read_text()}
        assert len(left) == 1
        again = sweep(path, "--results", tmp_path / "killed", **temporary)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "that an earlier run, killed, had left behind" in again.stdout
        assert stray.wait(5) == -signal.SIGKILL and not alive(old)
        assert carrying(ledgers[0].parent) == []
        assert not half.exists() and not any(place.exists() for place in left)
        assert other.poll() is not None or len(alive(theirs)) >= 3
    finally:
        for driver in (killed, other):
            if driver.poll() is None:
                os.kill(driver.pid, signal.SIGTERM)
        other.communicate(timeout=60)
    assert not list(short_tmp.glob("kurabe-*"))  # torch keeps a cache of its own there
