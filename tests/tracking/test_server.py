"""A real MLflow server that dies in the middle of a sweep and comes back. End only what was started here."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform.core.events import SweepEnded, SweepStarted
from platform.tracking import mlflow_writer
from platform.tracking.mlflow_writer import MlflowListener
from tests.report.fake_sweep import FakeSweep
from tests.tracking.test_mlflow_writer import client, runs, trials


class Server:
    def __init__(self, database: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.database = database
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.database}"]
        command += ["--artifacts-destination", str(self.database.parent / "artifacts")]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # five more processes that nothing here needs
        self.process = subprocess.Popen(
            command,
            cwd=self.database.parent,
            env=environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(180):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1).close()
                return
            except OSError:
                time.sleep(0.5)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(empty_database: Path, tmp_path: Path) -> Iterator[Server]:
    database = tmp_path / "mlflow.db"
    database.write_bytes(empty_database.read_bytes())
    found = Server(database)
    try:
        found.start()
        yield found
    finally:
        found.kill()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_that_is_killed_and_comes_back(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_writer, "wait_seconds", lambda failures: 0.5)
    sweep = FakeSweep(tmp_path / "digits", trials=6, tracking=server.uri)
    said: list[str] = []
    tracker = MlflowListener(server.uri, sweep.folder, said.append)
    tracker.prepare(timeout=60)
    tracker.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for number, row in enumerate(rows):
        sweep.start(row, tracker)
        for report in sweep.reports(row):
            sweep.report(row, report, tracker)
            time.sleep(0.1)
        if number == 1:
            server.kill()
        if number == 4:
            began = time.monotonic()
            while not said and time.monotonic() - began < 60:
                time.sleep(0.1)
            server.start()
        sweep.end(row, tracker)
    tracker.handle(SweepEnded(rows))
    assert sum("does not take entries" in line for line in said) == 1
    found = trials(server.uri, "digits")
    assert {k: r.data.tags["kurabe.outcome"] for k, r in found.items()} == {r.key: r.outcome for r in rows}
    for row in rows:
        history = client(server.uri).get_metric_history(found[row.key].info.run_id, "system/seconds")
        assert sorted(m.step for m in history) == [r["step"] for r in row.reports]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_status_that_a_kill_kept_back_is_made_good_at_the_next_start(server: Server, tmp_path: Path) -> None:
    """The driver died after the outcomes had arrived and before the statuses: nothing stays RUNNING for ever."""
    sweep = FakeSweep(tmp_path / "digits", trials=4, tracking=server.uri)
    first = MlflowListener(server.uri, sweep.folder)
    first.prepare(timeout=60)
    rows = sweep.run(first)
    before = trials(server.uri, "digits")
    found = runs(server.uri, "digits")
    for run in found:
        client(server.uri).update_run(run.info.run_id, status="RUNNING")
    assert {run.info.status for run in runs(server.uri, "digits")} == {"RUNNING"}
    second = MlflowListener(server.uri, sweep.folder)
    second.prepare(timeout=60)
    second.handle(SweepStarted(sweep.info, rows))
    second.handle(SweepEnded(rows))
    after = trials(server.uri, "digits")
    assert {key: run.info.status for key, run in after.items()} == {key: r.info.status for key, r in before.items()}
    assert {run.info.run_id: run.info.status for run in runs(server.uri, "digits")} == {
        run.info.run_id: run.info.status for run in found
    }


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_that_is_away_at_the_start_and_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_writer, "wait_seconds", lambda failures: 0.5)
    server.kill()
    sweep = FakeSweep(tmp_path / "digits", trials=3, tracking=server.uri)
    said: list[str] = []
    tracker = MlflowListener(server.uri, sweep.folder, said.append)
    tracker.prepare(timeout=5)
    tracker.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for number, row in enumerate(rows):
        sweep.start(row, tracker)
        for report in sweep.reports(row):
            sweep.report(row, report, tracker)
        if number == 1:
            server.start()
        sweep.end(row, tracker)
    tracker.handle(SweepEnded(rows))
    assert "does not take entries" in said[0] and "answers again" in said[1] and len(said) == 2
    found = trials(server.uri, "digits")
    assert {k: r.data.tags["kurabe.outcome"] for k, r in found.items()} == {r.key: r.outcome for r in rows}
    assert {run.info.status for run in runs(server.uri, "digits")} & {"RUNNING"} == set()
