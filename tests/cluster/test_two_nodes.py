"""`ray job submit --working-dir .` against two Ray nodes on this machine: the way that cluster/gpu.yaml describes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import platform
from platform.core.spec import derive_seed
from tests.cluster.nodes import RAY, LocalCluster, free_port

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

ON_EVERY_NODE = """
import json, platform, ray, time
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

ray.init(address="auto", log_to_driver=False)
deadline = time.monotonic() + 60
while sum(n["Alive"] for n in ray.nodes()) < 2 and time.monotonic() < deadline:
    time.sleep(0.2)

@ray.remote(num_cpus=1)
def look():
    import os, platform, platform.core.spec as spec
    import methods
    return [platform.system(), spec.derive_seed(0, "x"), os.path.relpath(spec.__file__, os.getcwd())]

nodes = [n["NodeID"] for n in ray.nodes() if n["Alive"]]
print("ANSWER", json.dumps([ray.get(look.options(scheduling_strategy=On(n, soft=False)).remote()) for n in nodes]))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with tempfile.TemporaryDirectory(prefix="kurabe-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = LocalCluster(Path(folder), free_port(), free_port())
        try:
            cluster.start_head(cpus=1)
            cluster.start_worker(cpus=1)
            yield cluster
        finally:
            cluster.end()


def submit(cluster: LocalCluster, *entry: str) -> str:
    """Submit a job as the README says, wait for it, and give back what it printed."""
    done = subprocess.run(
        [RAY, "job", "submit", "--address", cluster.jobs, "--working-dir", ".", "--", *entry],
        cwd=ROOT,
        env={**os.environ, "RAY_AUTH_MODE": "token"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_every_node_of_a_job_imports_the_uploaded_package(cluster: LocalCluster):
    (answer,) = [s for s in submit(cluster, "python", "-c", ON_EVERY_NODE).splitlines() if s.startswith("ANSWER ")]
    expected = [platform.system(), derive_seed(0, "x"), "platform/core/spec.py"]
    assert json.loads(answer.removeprefix("ANSWER ")) == [expected, expected]


def test_a_sweep_runs_as_a_job_on_the_cluster(cluster: LocalCluster, tmp_path: Path):
    space = "search_spaces/layermatch.yaml"
    options = ["--smoke", "--address", "auto", "--results", str(tmp_path)]
    printed = submit(cluster, "python", "-m", "platform.sweep", space, *options)
    (table,) = tmp_path.glob("*/trials.csv")
    trials = pd.read_csv(table)
    assert len(trials) > 0, printed
    assert set(trials["outcome"]) <= {"completed", "pruned"}, printed
    assert trials["score"].notna().any()


def test_the_doctor_looks_on_both_nodes(cluster: LocalCluster, tmp_path: Path):
    command = [sys.executable, "-m", "platform.doctor", "--address", cluster.address, "--results", str(tmp_path)]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "COLUMNS": "120"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    lines = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    for check in ("versions", "token", "clock", "GPU", "results folder"):
        assert "all 2 nodes" in lines[check], done.stdout
    assert "what the driver writes is read here" in lines["results folder"] and not list(tmp_path.iterdir())
