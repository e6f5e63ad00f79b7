"""--address: what is there, whether it is Ray and whether it takes the token is known within seconds, in words."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.nodes import LocalCluster, free_port
from tests.runner.door import ROOT, sweep

CHECK = """
import sys, time
import ray  # whose import takes seconds on a busy machine
from platform.core.errors import UserError
from platform.runner import cluster
begin = time.monotonic()
try:
    cluster.check(sys.argv[1])
    print("ANSWERS")
except UserError as error:
    print(error)
print("SECONDS", time.monotonic() - begin)
"""


def check(address: str, **environment: str) -> tuple[str, float]:
    """What `cluster.check` says in a process of its own (Ray reads its token once), and how long it took."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_AUTH", "RAY_ADDRESS"))}
    done = subprocess.run(
        [sys.executable, "-c", CHECK, address],
        cwd=ROOT,
        env=kept | {"HOME": "/nonexistent"} | environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said, _, seconds = done.stdout.rpartition("SECONDS")
    return said, float(seconds)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port on all interfaces that accepts every connection and never says a word."""
    with socket.create_server(("", 0), backlog=20) as server:
        yield server.getsockname()[1]


@pytest.fixture
def web() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_is_not_ray_is_named_within_seconds(silent, web, scheme):
    for port, reason in ((silent, "says nothing: that is not Ray"), (web, "is not Ray"), (free_port(), "refused")):
        said, seconds = check(f"{scheme}127.0.0.1:{port}")
        assert f"--address: no Ray cluster answers at {scheme}127.0.0.1:{port}: " in said and reason in said, said
        assert seconds < 10


@pytest.mark.slow
def test_the_command_ends_before_it_reads_data_and_leaves_no_folder(silent, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text("name: small\nmethods: [supervised]\ndata: {source: digits}\n")
    begin = time.monotonic()
    done = sweep(space, "--results", tmp_path / "r", "--address", f"127.0.0.1:{silent}")
    assert done.returncode == 2 and "says nothing: that is not Ray" in done.stderr, done.stdout + done.stderr
    assert not (tmp_path / "r").exists() and "Traceback" not in done.stderr
    assert time.monotonic() - begin < 60  # python and Ray's import on a busy machine included


@pytest.mark.parametrize("address", ["nowhere", "host:port", "127.0.0.1:99999", ":7", "ray://"])
def test_no_address_at_all(address):
    from platform.core.errors import UserError
    from platform.runner.cluster_address import check_address

    with pytest.raises(UserError, match="an address is HOST:PORT, ray://HOST:PORT or auto"):
        check_address(address)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with tempfile.TemporaryDirectory(prefix="kurabe-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        cluster = LocalCluster(Path(folder), free_port(), free_port())
        try:
            cluster.start_head(cpus=1)
            yield cluster
        finally:
            cluster.end()


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_a_token_that_is_missing_or_wrong_is_named(cluster):
    right = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": os.environ["RAY_AUTH_TOKEN_PATH"]}
    assert check(cluster.address, **right)[0] == "ANSWERS\n"
    wrong = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 64}
    for environment, expected, advice in (
        ({}, f"the cluster at {cluster.address} asks for a token, and none was sent", "RAY_AUTH_MODE=token sends"),
        ({"RAY_AUTH_MODE": "token"}, "there is no token to show", "RAY_AUTH_TOKEN_PATH"),
        (wrong, f"the cluster at {cluster.address} refuses the token", "ray get-auth-token"),
    ):
        said, seconds = check(cluster.address, **environment)
        assert expected in said and advice in said and "b" * 64 not in said, said
        assert seconds < 10


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_what_a_fixed_cluster_cannot_have_is_refused_and_leaves_no_folder(cluster, tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text("name: small\nmethods: [supervised]\ndata: {source: digits, limit: 100}\ntracking: none\n")
    words = (space, "--results", tmp_path / "r", "--address", cluster.address, "resources.cpu=64")
    done = sweep(*words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "waiting for a machine to join that has 64 CPU cores; there is 1 CPU core and no GPU" in done.stdout
    assert "a trial asks for 64 CPU cores; no machine of this cluster has that: there is 1 CPU core" in done.stderr
    assert not (tmp_path / "r" / "small").exists()
