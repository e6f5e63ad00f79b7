"""A cluster that grows: an empty head whose autoscaler starts workers with a declared GPU when trials wait for them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from platform.runner.private_ray import LOOPBACK
from tests.cluster.nodes import LocalCluster, free_port
from tests.runner.door import ROOT, sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

SPACE = """
name: small
methods: [supervised]
data: {source: digits, limit: 200}
labels: {per_class: 2}
train: {steps: 20, evaluations: 1}
search: {train.lr: {log_uniform: [0.01, 0.3]}}
budget: {trials: 8, studies: 1, scheduler: none}
tracking: none
"""
WORKERS = 4
CODE_IS_HERE = {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}
"""As in a submitted job: the driver uploads no code. Nodes that share a disk would unpack it over each other."""

NODES = """
import sys, ray
from platform.runner import cluster
cluster.prepare(private=False)
ray.init(address=sys.argv[1], logging_level="ERROR")
print("NODES", sum(node["Alive"] for node in ray.nodes()))
"""


@pytest.fixture(scope="module")
def growing() -> Iterator[LocalCluster]:
    with tempfile.TemporaryDirectory(prefix="kurabe-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = LocalCluster(Path(folder), free_port(), free_port())
        try:
            memory = 80_000_000
            cluster.start_growing_head(
                {"g6": {"CPU": 1, "GPU": 1, "object_store_memory": memory}}, at_most=WORKERS, idle_seconds=6
            )
            yield cluster
        finally:
            cluster.end()


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SPACE)
    return path


def test_the_dry_run_says_on_what_and_how_many_at_once(growing, space):
    done = sweep(space, "--dry-run", "--no-calibration", "--address", growing.address, **LOOPBACK)
    assert done.returncode == 0, done.stdout + done.stderr
    said = "up to 4 trials at once on the cluster, each with 1 CPU core and 1 GPU; there is 0 CPU cores and no GPU; "
    assert said + "its autoscaler can start 4 of type g6 (1 CPU core and 1 GPU)" in done.stdout, done.stdout


def test_what_no_type_of_node_has_is_refused_with_what_there_is(growing, space, tmp_path):
    done = sweep(space, "--results", tmp_path / "r", "--address", growing.address, "resources.gpu=8", **LOOPBACK)
    assert done.returncode == 2, done.stdout + done.stderr
    asked = (
        "a trial asks for 1 CPU core and 8 GPUs; no machine of this cluster has that: there is 0 CPU cores and no GPU"
    )
    assert f"{asked}, and its autoscaler can start 4 of type g6 (1 CPU core and 1 GPU)" in done.stderr, done.stderr
    assert not (tmp_path / "r" / "small").exists()


def test_workers_come_train_and_go(growing, space, tmp_path):
    done = sweep(
        space, "--results", tmp_path / "r", "--address", growing.address, timeout=240, **LOOPBACK, **CODE_IS_HERE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_csv(tmp_path / "r" / "small" / "trials.csv")
    assert list(rows["outcome"]) == ["completed"] * 8, done.stdout
    waits = re.findall(r"waiting for (\d) GPU workers?; (\d) (?:is|are) there", done.stdout)
    assert waits and waits[0] == ("4", "0") and "all GPU workers are there: 4" in done.stdout, done.stdout
    until = time.monotonic() + 60
    while (left := nodes(growing.address)) > 1 and time.monotonic() < until:
        time.sleep(1)
    assert left == 1, "workers stay though no trial waits"


def nodes(address: str) -> int:
    command = [sys.executable, "-c", NODES, address]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | LOOPBACK, capture_output=True, text=True, timeout=60)
    found = re.search(r"NODES (\d+)", done.stdout)
    assert found, done.stdout + done.stderr
    return int(found[1])
