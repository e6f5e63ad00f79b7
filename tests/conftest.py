"""Fixtures for all rooms, and an environment that keeps tests off the user's home, screen and network."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

settings.register_profile("here", deadline=None)  # these machines are noisy
settings.register_profile("ci", deadline=None, derandomize=True)  # the same examples: a red run is about the change
settings.load_profile("ci" if os.environ.get("CI") else "here")

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores must not fight over them
os.environ["KURABE_REPORT"] = "off"  # of the many small sweeps here; tests/report/html turns it on
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does by itself for ray.init(); its job client has to be told


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start Ray first, the fast ones last: what ends a run should be short, so that no worker waits long."""
    first = {item.path for item in items if item.get_closest_marker("ray")}
    second = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: 0 if item.path in first else 1 if item.path in second else 2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests/faults did to its sweeps; here, because xdist's workers print nothing."""
    passed = terminalreporter.stats.get("passed", [])
    kills = sum(value for report in passed for name, value in report.user_properties if name == "kills")
    if kills:
        terminalreporter.write_line(f"kills survived: {kills}")


@pytest.fixture(scope="session", autouse=True)
def ray_token(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A token of these tests' own: Ray would leave one in the home folder, where a later `ray start` asks for it."""
    token = tmp_path_factory.mktemp("ray") / "auth_token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """A temporary folder with a short name: Ray's sockets lie in it, and a socket's path has at most 107 bytes."""
    folder = tempfile.mkdtemp(prefix="kurabe-", dir="/tmp")
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """The module `ray`, connected to a cluster of this test module's own on this machine: two slots, no dashboard."""
    ray = pytest.importorskip("ray")
    folder = tempfile.mkdtemp(prefix="kurabe-", dir="/tmp")
    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=0,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},  # the package must come before the standard module
        _temp_dir=folder,
    )
    yield ray
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
