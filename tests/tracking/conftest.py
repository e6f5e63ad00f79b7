"""A migrated MLflow database: making one takes seconds, copying one does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from platform.core.uri import SecretUri
from platform.tracking import connection


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connection.prepare(SecretUri(f"sqlite:///{path}"))
    return path


@pytest.fixture
def uri(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a fresh copy, relative to the current folder as the default is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    shutil.copy(empty_database, tmp_path / "results" / "mlflow.db")
    return "sqlite:///results/mlflow.db"
