"""What is so before Ray starts: where its workers import from, and that there is code to send to a cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import ray

from platform.core.errors import UserError
from platform.runner import cluster, private_ray
from platform.sweepfile.schema import Resources
from platform.training.environment import ROOT, worker_environment


def test_workers_import_from_the_project_first_not_from_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray puts the driver's current folder first on its workers' path."""
    seen: list[tuple[Path, str]] = []
    for name in ("PYTHONPATH", *worker_environment()):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # as it was, afterwards
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", lambda **_: seen.append((Path.cwd(), os.environ["PYTHONPATH"])))
    monkeypatch.setattr(private_ray, "kill_at_once", lambda: None)
    monkeypatch.setattr(cluster, "_machines", lambda: [{"CPU": 1.0}])
    cluster.start(None, Resources(), tmp_path)
    ((folder, path),) = seen
    assert folder == ROOT and path.split(os.pathsep)[0] == str(ROOT)
    assert Path.cwd() == tmp_path


def test_a_cluster_is_refused_where_no_checkout_has_the_code_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setattr(cluster, "prepare", lambda private: None)
    monkeypatch.setattr(cluster, "check_address", asked.append)
    monkeypatch.setattr(cluster, "ROOT", tmp_path)
    with pytest.raises(UserError, match="installed without its sources.*\n.*pip install --editable"):
        cluster.check("192.0.2.1:6379")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")  # a job has brought its code
    assert cluster.check("192.0.2.1:6379") == "192.0.2.1:6379"
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    (tmp_path / "pyproject.toml").touch()
    assert cluster.check("192.0.2.1:6379") == "192.0.2.1:6379"
    assert asked == ["192.0.2.1:6379"] * 2
