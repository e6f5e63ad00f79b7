"""Ray nodes under a sweep: one is killed, one is drained as spot machines are, one joins. Nothing is lost or double."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.nodes import RAY, LocalCluster, free_port
from tests.faults.scene import PLUGIN
from tests.long import long
from tests.runner.door import ROOT, command, sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(500), long]

STEPS, EVALUATIONS, TRIALS = 24, 6, 5
SPACE = f"""
name: small
methods: [./logged.py]
data: {{source: digits, limit: 100}}
labels: {{per_class: 2}}
train: {{steps: {STEPS}, evaluations: {EVALUATIONS}, batch_size: 8}}
search: {{model_ema: {{uniform: [0.9, 0.999]}}, train.lr: {{log_uniform: [1e-3, 0.3]}}}}
budget: {{trials: {TRIALS}, studies: 1, scheduler: none, sampler: random}}
resources: {{concurrent: 2}}
tracking: none
"""
DRAINED = "d" * 56
QUICK = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}  # death is seen in 2 s, not 15


def test_a_sweep_survives_a_killed_a_drained_and_a_new_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "logged.py").write_text(PLUGIN)
    space = tmp_path / "small.yaml"
    space.write_text(SPACE)
    expected = undisturbed(space, tmp_path)
    steps = tmp_path / "steps.log"
    for name, value in (QUICK | {"STEP_LOG": str(steps), "STEP_SECONDS": "0.3"}).items():
        monkeypatch.setenv(name, value)  # of the nodes, and of the workers that they start
    with tempfile.TemporaryDirectory(prefix="kurabe-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = LocalCluster(Path(folder), free_port(), free_port())
        try:
            cluster.start_head(cpus=0)
            cluster.start_worker(cpus=1)
            cluster.start_worker(cpus=1, node_id=DRAINED)
            run = disturbed(space, tmp_path, cluster)
        finally:
            cluster.end()
    assert run.returncode == 0 and "its process was lost" in run.stdout, run.stdout
    rows = table(tmp_path / "disturbed")
    pd.testing.assert_frame_equal(rows, expected)
    ends = [json.loads(line) for line in (tmp_path / "disturbed/small/ledger.jsonl").read_text().splitlines()]
    ended = Counter(str(event.get("key")) for event in ends if "ended" in str(event.get("event")))
    assert len(ended) == TRIALS and set(ended.values()) == {1}, ended
    interval = STEPS // EVALUATIONS
    assert len(steps.read_text().splitlines()) <= TRIALS * STEPS + 2 * interval, "more than one evaluation was lost"


def undisturbed(space: Path, folder: Path) -> pd.DataFrame:
    environment = {"STEP_LOG": str(folder / "other.log"), "STEP_SECONDS": "0"}
    done = sweep(space, "--results", folder / "undisturbed", **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return table(folder / "undisturbed")


def table(results: Path) -> pd.DataFrame:
    rows = pd.read_csv(results / "small" / "trials.csv").set_index("key").sort_index()
    kept = [name for name in rows if name.startswith("hp.") or name in ("outcome", "score", "test_accuracy", "step")]
    assert {"outcome", "score"} <= set(kept)
    return rows.loc[:, kept]


def disturbed(space: Path, folder: Path, cluster: LocalCluster) -> subprocess.CompletedProcess[str]:
    ledger = folder / "disturbed" / "small" / "ledger.jsonl"
    words = command(space, "--results", folder / "disturbed", "--address", cluster.address)
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}
    output = folder / "output.txt"
    with output.open("w") as file:
        driver = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        evaluated = lambda: ledger.read_text().count('"noisy_val_accuracy"') if ledger.exists() else 0  # noqa: E731
        wait(lambda: evaluated() >= 2, driver)
        os.killpg(cluster.nodes[1].pid, signal.SIGKILL)  # as a machine that loses its power
        cluster.start_worker(cpus=1)
        before = evaluated()
        wait(lambda: evaluated() >= before + 3, driver)
        drain(cluster, 2)
        return subprocess.CompletedProcess(words, driver.wait(300), output.read_text())
    finally:
        driver.kill()


def drain(cluster: LocalCluster, number: int) -> None:
    """As a cloud takes a spot machine back: notice, and the end two seconds later."""
    reason = "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=taken back", "--deadline-remaining-seconds=2"
    notice = [RAY, "drain-node", f"--address={cluster.address}", f"--node-id={DRAINED}", *reason]
    done = subprocess.run(notice, env={**os.environ, "RAY_AUTH_MODE": "token"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    time.sleep(2)
    os.killpg(cluster.nodes[number].pid, signal.SIGKILL)


def wait(ready: Callable[[], bool], driver: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 200
    while not ready():
        assert driver.poll() is None and time.monotonic() < until, "the sweep has ended too early, or does nothing"
        time.sleep(0.2)
