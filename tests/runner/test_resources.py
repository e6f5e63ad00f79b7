"""Resources that are not there: refused before anything starts, or waited for in words where a cluster may grow."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from platform import sweep
from platform.runner.cluster_growth import may_grow
from platform.runner.guards import waiting

SPACE = """
name: small
methods: [supervised]
data: {source: digits, limit: 100}
labels: {per_class: 2}
budget: {trials: 3}
tracking: none
"""


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command on a machine of two cores without a GPU."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    path = tmp_path / "small.yaml"
    path.write_text(SPACE)
    return [str(path), "--results", str(tmp_path / "r")]


@pytest.mark.parametrize("dry", [["--dry-run"], []])
@pytest.mark.parametrize(
    ("asked", "demand"), [("resources.gpu=1", "1 CPU core and 1 GPU"), ("resources.cpu=64", "64 CPU cores")]
)
def test_what_this_machine_does_not_have_is_refused(words, capsys, tmp_path, asked, demand, dry):
    assert sweep.main([*words, asked, *dry]) == 2
    said = capsys.readouterr().err
    assert f"resources: a trial asks for {demand}; this machine has 2 CPU cores and no GPU" in said
    assert "nothing was started" in said and not (tmp_path / "r").exists()


def test_the_dry_run_says_that_fewer_fit_at_once_than_are_asked_for(words, capsys):
    assert sweep.main([*words, "resources.concurrent=5", "--dry-run", "--no-calibration"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "resources.concurrent is 5, but only 2 fit at once into 2 CPU cores and no GPU" in said


def report(*nodes: str) -> bytes:
    return json.dumps({"autoscaler_report": {"active_nodes": dict.fromkeys(nodes, 1)}}).encode()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (report("node_5a3924e6a11504956c65"), False),  # what Ray calls a node that no autoscaler started
        (report("ray.head.default", "ray.worker.gpu"), True),
        (report("node_5a3924e6a11504956c65", "gpu"), True),
        (report(), True),
        (None, True),
        (b"not JSON", True),
        (b'{"autoscaler_report": null}', True),
    ],
)
def test_whether_a_cluster_may_grow(status, expected):
    assert may_grow(status) is expected


def test_a_cluster_without_room_is_waited_for_in_words(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock.now)
    said: list[str] = []
    notice = waiting.WaitingNotice("1 CPU core and 1 GPU", lambda: "4 CPU cores and no GPU", said.append)
    pending, running = SimpleNamespace(status="PENDING"), SimpleNamespace(status="RUNNING")

    def steps(seconds: int, *trials: SimpleNamespace) -> int:
        before = len(said)
        for _ in range(seconds):
            clock.now += 1
            notice.on_step_begin(0, list(trials))
        return len(said) - before

    assert steps(300) == steps(300, running, pending) == steps(19, pending) == 0
    assert steps(10, pending) == 1
    assert "no trial runs since 21 s: each needs 1 CPU core and 1 GPU" in said[-1]
    assert "the cluster: 4 CPU cores and no GPU" in said[-1]
    assert steps(600, pending) in (4, 5)
    assert steps(1, running) == steps(15, pending) == 0
