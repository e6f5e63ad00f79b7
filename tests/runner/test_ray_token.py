"""The token of a private Ray is its owner's: whoever reads it may run code as the owner."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from platform.runner.guards import ray_token


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ray" / "auth_token"


def test_a_token_is_made_for_its_owner_alone(home: Path) -> None:
    ray_token.close()
    assert home.stat().st_mode & 0o777 == 0o600 and len(made := home.read_text()) == 64
    home.chmod(0o644)  # as Ray leaves it
    ray_token.close()
    assert home.stat().st_mode & 0o777 == 0o600 and home.read_text() == made


@pytest.mark.parametrize(("name", "value"), [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "given")])
def test_what_the_environment_says_stays(home: Path, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    ray_token.close()
    assert not home.exists()


def test_a_home_that_cannot_be_written_is_left_to_ray(tmp_path: Path, home: Path) -> None:
    (tmp_path / ".ray").write_text("")
    ray_token.close()


def test_a_sweep_closes_it_before_ray_starts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from platform.runner import cluster
    from platform.runner.session import Session

    seen: list[int] = []
    monkeypatch.setattr(cluster, "start", lambda *_: seen.append(home.stat().st_mode & 0o777))

    class Given:
        folder = home.parent.parent / "results"

        address = None

        class sweep:
            resources = None
            locate = contextlib.nullcontext

    Session._start_ray(Given, home.parent)  # type: ignore[arg-type]
    assert seen == [0o600]
