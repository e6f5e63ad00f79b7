"""The commit that results carry is this project's, or none."""

from __future__ import annotations

import subprocess
from pathlib import Path

from platform.report.provenance import git


def test_an_environment_inside_somebodys_repository_has_no_commit(tmp_path: Path) -> None:
    """A wheel in the .venv of a user's repository: the commit there says nothing about the code that ran."""

    def ask(*words: str) -> None:
        subprocess.run(["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    packages = tmp_path / ".venv" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "kurabe.py").write_text("")
    (tmp_path / "mine.py").write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    ask("init", "--quiet")
    ask("add", "-A")
    ask("commit", "--quiet", "-m", "mine")
    assert git(tmp_path)["commit"] is not None and git(tmp_path)["dirty"] is False
    assert git(packages) == {"commit": None, "branch": None, "dirty": None}
