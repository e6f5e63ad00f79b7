"""What `ray job submit --working-dir .` uploads: the code, and nothing of the user's data, results or environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PRIVATE = [
    "results/layermatch/trials.csv",
    "results/mlflow.db",
    "results/measured/table.md",
    "mlflow.db",
    "mlruns/0/meta.yaml",
    "data/train.parquet",
    "datasets/cat.jpg",
    "train.parquet",
    "weights.safetensors",
    "platform/data/cache.npy",
    ".venv/bin/python",
    "venv/bin/python",
    "venv312/bin/python",
    ".git/config",
    ".cache/kurabe/digits.bin",
    ".env",
    ".hypothesis/unicode",
    "kurabe.egg-info/PKG-INFO",
    "platform/__pycache__/spec.cpython-311.pyc",
    "tests/test_name.py",
    "cluster/my-gpu.yaml",
]


def uploaded(folder: Path, target: Path) -> dict[str, int]:
    """Names and sizes in the package that Ray itself makes of a working directory."""
    from ray._private import ray_constants
    from ray._private.runtime_env.packaging import create_package

    excludes = ray_constants.get_runtime_env_default_excludes()
    create_package(str(folder), target, include_gitignore=True, excludes=excludes)
    with zipfile.ZipFile(target) as package:
        return {info.filename: info.file_size for info in package.infolist() if not info.is_dir()}


def code() -> list[str]:
    """The files that a job needs, as they stand here."""
    folders = [ROOT / name for name in ("platform", "methods", "search_spaces")]
    files = [f for folder in folders for f in folder.rglob("*") if f.suffix in (".py", ".yaml", ".json")]
    return sorted(str(f.relative_to(ROOT)) for f in files if "__pycache__" not in f.parts)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's code in which somebody has worked for a while."""
    folder = tmp_path_factory.mktemp("repository")
    for name in [*code(), "pyproject.toml", ".gitignore", ".rayignore"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in PRIVATE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("private")
    return folder


def test_the_code_is_uploaded_whole_and_nothing_private(repository: Path, tmp_path: Path):
    names = set(uploaded(repository, tmp_path / "package.zip"))
    assert set(code()) <= names
    assert names.isdisjoint(PRIVATE)


def test_nothing_else_is_needed_to_import_the_package(repository: Path, tmp_path: Path):
    """The uploaded files alone, unpacked elsewhere, are the package."""
    uploaded(repository, tmp_path / "package.zip")
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        package.extractall(tmp_path / "node")
    done = subprocess.run(
        [sys.executable, "-c", "import platform.core.spec, methods; print(platform.core.spec.__file__)"],
        cwd=tmp_path / "node",
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == str(tmp_path / "node" / "platform" / "core" / "spec.py")


def test_this_checkout_uploads_little(tmp_path: Path):
    sizes = uploaded(ROOT, tmp_path / "package.zip")
    assert set(code()) <= set(sizes)
    strangers = {name.split("/")[0] for name in sizes} & {"results", "tests", "data", ".git", ".venv", "shared"}
    assert strangers == set()
    assert sum(sizes.values()) < 5_000_000, sorted(sizes.items(), key=lambda item: -item[1])[:5]
