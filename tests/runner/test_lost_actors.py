"""An actor that dies while it is handed the next trial: that trial runs in another one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from platform.runner.tune.lost_actors import recover_before_start
from tests.long import long

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


class Mortal(tune.Trainable):
    """Dies when it is handed trial 1 or 2; a new actor starts with them."""

    def setup(self, config: dict[str, Any]) -> None:
        self.number, self.notes = config["number"], Path(config["notes"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.number = new_config["number"]
        if self.number:
            (self.notes / f"{self.number}").touch()
            os._exit(1)
        return True

    def step(self) -> dict[str, Any]:
        return {"done": True, "number": self.number}


def outcomes(notes: Path, storage: Path, failures: int) -> list[str]:
    """Status of each trial, in one slot with a reused actor."""
    tuner = tune.Tuner(
        tune.with_resources(Mortal, {"cpu": 1}),
        param_space={"number": tune.grid_search([0, 1, 2]), "notes": str(notes)},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=1),
        run_config=tune.RunConfig(
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    results = tuner.fit()
    return ["error" if result.error else "ok" for result in results]


@pytest.mark.parametrize(
    ("mended", "failures", "expected"),
    [
        (True, 1, ["ok", "ok", "ok"]),
        pytest.param(True, 0, ["ok", "error", "ok"], marks=long),  # a restart counts
        (False, 1, ["ok", "error", "ok"]),  # where this passes no more, Ray has mended it: delete the mending
    ],
)
def test_it_is_started_again_as_often_as_a_running_one(ray_cluster, tmp_path, mended, failures, expected):
    notes = tmp_path / "notes"
    notes.mkdir()
    with recover_before_start() if mended else contextlib.nullcontext():
        assert outcomes(notes, tmp_path / "tune", failures) == expected
    assert (notes / "1").exists(), "no actor died"
