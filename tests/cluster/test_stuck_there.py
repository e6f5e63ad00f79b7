"""A trial that hangs on another node than the driver's: its stack comes from there, and its slot works again."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pytest

from tests.cluster.nodes import LocalCluster, free_port
from tests.runner.door import sweep
from tests.runner.test_watchdog import HANGS, SPACE

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


def test_a_trial_that_hangs_on_another_node_is_found_told_and_ended(tmp_path):
    (tmp_path / "hangs.py").write_text(HANGS)
    path = tmp_path / "small.yaml"
    path.write_text(SPACE.replace("[0.999, 0.9, 0.91, 0.99]", "[0.999, 0.91]").replace("trials: 4", "trials: 2"))
    with tempfile.TemporaryDirectory(prefix="kurabe-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = LocalCluster(Path(folder), free_port(), free_port())
        try:
            cluster.start_head(cpus=0)  # the driver's node: no trial fits there
            cluster.start_worker(cpus=1)
            words = (path, "--results", tmp_path / "r", "--address", cluster.address)
            done = sweep(*words, timeout=350, RAY_AUTH_MODE="token")
        finally:
            cluster.end()
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_csv(tmp_path / "r" / "small" / "trials.csv").set_index("hp.model_ema")
    assert rows.loc[0.999, "outcome"] == "completed" and rows.loc[0.91, "reason"] == "stuck"
    dump = (tmp_path / "r" / "small" / "errors" / f"{rows.loc[0.91, 'key']}.stack.txt").read_text()
    assert "hangs.py" in dump and "in loss" in dump, dump
