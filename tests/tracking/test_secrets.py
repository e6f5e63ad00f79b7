"""A real sweep with a password in its tracking URI: no byte that it prints, writes or leaves to be seen holds it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.runner import door
from tests.tracking.test_mlflow_writer import runs
from tests.tracking.test_server import Server, server  # noqa: F401

PASSWORD = "hunter/2 \"s'@cret"
PARTS = (b"hunter", b"@cret", quote(PASSWORD, safe="").encode(), base64.b64encode(f"me:{PASSWORD}".encode()))
SPACE = """
name: small
methods: [supervised]
labels: {per_class: 4}
train: {steps: 4, evaluations: 2}
search: {train.lr: {log_uniform: [1e-3, 0.3]}}
budget: {trials: 1}
"""


@contextlib.contextmanager
def guarded(port: int) -> Iterator[str]:
    """The address of a door before an MLflow server on `port` that asks for name and password."""
    expected = "Basic " + PARTS[-1].decode()

    class Door(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, kind, content = 401, "text/plain", b"who are you?"
            if self.headers.get("Authorization") == expected:
                inner = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "accept")}
                inner.request(self.command, self.path, body, headers)
                found = inner.getresponse()
                status, kind, content = found.status, found.getheader("Content-Type") or "", found.read()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        found.server_close()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """For temporary files, Ray's too; its sockets need a short path."""
    folder = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def environment(scratch: Path, **more: str) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_TRACKING")}
    return mine | {"TMPDIR": str(scratch), "RAY_TMPDIR": str(scratch), "HOME": str(scratch)} | more


def clean(content: bytes) -> bool:
    return not any(part in content for part in PARTS)


def watched(words: list[str], environ: dict[str, str]) -> tuple[int, str]:
    """Run a sweep; look at the command lines and environments of all its processes meanwhile. Exit code and output."""
    process = subprocess.Popen(
        words, cwd=door.ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    seen: dict[int, tuple[bytes, bytes]] = {}
    began = time.monotonic()  # until the command line was exchanged, it is what was typed

    def look() -> None:
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                for child in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                    with contextlib.suppress(OSError):
                        place = Path(f"/proc/{child.pid}")
                        command_line = (place / "cmdline").read_bytes()
                        ray = b"ray::" in command_line or b"/ray/" in command_line
                        inherited = (place / "environ").read_bytes() if ray else b""
                        if ray or b"platform.sweep" in command_line and time.monotonic() - began > 2:
                            seen[child.pid] = command_line, inherited
            time.sleep(0.1)

    watch = threading.Thread(target=look)
    watch.start()
    output, _ = process.communicate(timeout=240)
    watch.join()
    assert len(seen) > 3, output.decode()
    for command_line, inherited in seen.values():
        assert clean(command_line), command_line
        assert clean(inherited), inherited
    return process.returncode, output.decode()


def assert_clean(*folders: Path) -> None:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                assert clean(path.read_bytes()), path


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_sweep_on_a_server_that_asks_for_a_login(server: Server, tmp_path: Path, scratch: Path) -> None:  # noqa: F811
    space, results = tmp_path / "small.yaml", tmp_path / "results"
    space.write_text(SPACE)
    with guarded(server.port) as address:
        typed = f"tracking=http://me:{quote(PASSWORD, safe='@/')}@{address}"
        wrong = door.sweep(space, "--results", results, f"tracking=http://me:hunter@{address}", TMPDIR=str(scratch))
        assert wrong.returncode == 2 and "MLFLOW_TRACKING_PASSWORD" in wrong.stderr and not results.exists()
        assert clean((wrong.stdout + wrong.stderr).encode())
        code, output = watched(door.command(space, "--results", results, typed), environment(scratch))
        assert code == 0, output
        assert clean(output.encode()), output
        assert f"http://{address}" in output and "MLFLOW_TRACKING_PASSWORD" in output and "View run" not in output
        assert_clean(results, server.database.parent, scratch)
        assert {run.info.status for run in runs(server.uri, "small")} == {"FINISHED"}

        mine = environment(scratch, MLFLOW_TRACKING_USERNAME="me", MLFLOW_TRACKING_PASSWORD=PASSWORD)
        again = [results / "small" / "sweep.yaml", "--results", results, "budget.trials=2"]
        code, output = watched(door.command(*again), mine)
        assert code == 0, output
        assert clean(output.encode()), output
        assert_clean(results, server.database.parent, scratch)
        assert len([run for run in runs(server.uri, "small") if "kurabe.trial_key" in run.data.tags]) == 2


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_sweep_whose_server_is_away(tmp_path: Path, scratch: Path) -> None:
    """It starts, says so, keeps what the server misses, and shows the password neither here nor in a dry run."""
    space, results = tmp_path / "small.yaml", tmp_path / "results"
    space.write_text(SPACE + f'tracking: "http://me:{PASSWORD.replace(chr(34), chr(92) + chr(34))}@127.0.0.1:9"\n')
    code, output = watched(door.command(space, "--results", results), environment(scratch))
    assert code == 0, output
    assert "Training goes on; they are kept and delivered later" in output and "2 runs in MLflow" in output
    assert clean(output.encode()), output
    assert_clean(results, scratch)
    plan = door.sweep(space, "--results", results, "--dry-run", "--no-calibration", TMPDIR=str(scratch))
    assert plan.returncode == 0 and "http://127.0.0.1:9" in plan.stdout
    assert clean((plan.stdout + plan.stderr).encode())


@pytest.mark.parametrize(
    "words",
    [
        ["tracking=gopher://me:{}@host"],
        ["trackin=http://me:{}@host"],
        ["tracking http://me:{}@host"],
        ["tracking=[http://me:{}@host]"],
        ["tracking={{http://me:{}@host"],
        ["data.source=http://me:{}@host"],
        ["tracking=http://me:{}@host", "train.steps=0"],
        ["--address", "ray://me:{}@host:1"],
    ],
)
def test_a_failing_uri(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from platform.sweep import main

    (tmp_path / "small.yaml").write_text(SPACE)
    written = [word.format(PASSWORD) for word in words]
    assert main([str(tmp_path / "small.yaml"), "--results", str(tmp_path / "results"), *written]) == 2
    shown = capsys.readouterr()
    assert clean((shown.out + shown.err).encode()), shown


@pytest.mark.parametrize(
    "line", ["tracking: [http://me:{}@host", "tracking: 'http://me:{}@host", "\ttracking: http://me:{}@host"]
)
def test_a_file_that_is_no_yaml(line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from platform.sweep import main

    (tmp_path / "small.yaml").write_text(SPACE + line.format(PASSWORD) + "\n")
    assert main([str(tmp_path / "small.yaml")]) == 2
    shown = capsys.readouterr()
    assert clean((shown.out + shown.err).encode()), shown
