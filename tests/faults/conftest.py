"""The undisturbed sweeps that the others are compared with, and the count of what was survived."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from filelock import FileLock

from platform.core.uri import SecretUri
from platform.tracking import connection
from tests.faults.scene import Scene, scene_table

REPEATS = int(os.environ.get("KURABE_FAULTS", "1"))
"""How often each fault is repeated, at other moments each time. KURABE_FAULTS=20 for an afternoon."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(REPEATS))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated MLflow database: making one takes seconds, copying one does not."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connection.prepare(SecretUri(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Callable[[int], pd.DataFrame]:
    """The table of the sweep to which nothing happens, by slots; each is run once, also where xdist has workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def table(slots: int = 1) -> pd.DataFrame:
        path = shared / f"undisturbed-{slots}.csv"
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                scene = Scene(tmp_path_factory.mktemp("undisturbed"), empty_database, slots, step_seconds=0)
                try:
                    scene.finish(runs=1)
                    scene.check(scene.table())
                finally:
                    scene.end()
                shutil.copy(scene.results / "trials.csv", path)
        return scene_table(path)

    return table


@pytest.fixture
def make_scene(
    tmp_path: Path, empty_database: Path, record_property: Callable[[str, Any], None]
) -> Iterator[Callable[..., Scene]]:
    """Scenes in tmp_path; their processes are ended, and what they survived is counted."""
    scenes: list[Scene] = []

    def make(**settings: Any) -> Scene:
        scenes.append(Scene(tmp_path, empty_database, record=record_property, **settings))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.end()
