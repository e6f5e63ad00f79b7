"""Plug-ins by path reach a worker that has none of the files, and a changed file makes another row."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import platform.sweepfile as sweepfile
from platform.core.registry import FINDERS
from platform.runner.inputs import open_inputs
from platform.runner.messages import Assignment
from platform.sweepfile import Sweep
from tests.runner.door import ROOT
from tests.runner.sweeps import WORKPLACE
from tests.test_contributing import KINDS, examples

__all__ = ["examples"]

WORKER = """
import sys
import ray
from platform.runner.messages import progress_of
from platform.runner.tune import trainable

ray.get_actor = lambda name: None
trainable.die_with_parent = lambda: None
trial = trainable.TrialTrainable({"trial": sys.stdin.read()})
while True:
    result = progress_of(trial.step())
    if result.outcome:
        break
print(result.outcome, result.score, result.error)
"""


def assignment(sweep: Sweep, folder: Path) -> Assignment:
    inputs = open_inputs(sweep)
    (study,) = sweep.studies()
    spec = study.resolve({}, inputs.dataset.fingerprint, inputs.plans[0, 0].sha256)
    changes = {"checkpoints": folder, "folder": str(folder), "rule": sweep.select, "plug_ins": sweep.plug_ins}
    workplace = WORKPLACE.model_copy(update=changes)
    return Assignment(key=spec.key, study=study.id, spec=spec, workplace=workplace)


def test_a_worker_needs_none_of_the_files(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Another process, another folder, another cache: only the user's data are there."""
    work = assignment(sweepfile.load(examples / "space.yaml"), folder := tmp_path_factory.mktemp("elsewhere"))
    (folder / "TOKEN").write_text("here")
    for name in KINDS.values():
        (examples / f"my_{name}.py").unlink()
    environment = os.environ | {"KURABE_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import sys; sys.path.insert(0, '.')\n" + WORKER]
    done = subprocess.run(
        command, input=work.to_config()["trial"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.splitlines()[-1].startswith("completed 0."), done.stdout + done.stderr


@pytest.mark.parametrize("name", KINDS.values())
def test_a_changed_file_makes_another_row(name: str, examples: Path) -> None:
    def key() -> str:
        (study,) = sweepfile.load(examples / "space.yaml").studies()
        return study.resolve({}).key

    before, file = key(), examples / f"my_{name}.py"
    assert key() == before
    file.write_text(file.read_text() + "\n# another version\n")
    assert key() != before


def test_a_changed_source_is_decoded_anew(examples: Path) -> None:
    before = open_inputs(sweepfile.load(examples / "space.yaml")).dataset
    file = examples / "my_source.py"
    file.write_text(file.read_text().replace("Split(images, labels)", "Split(255 - images, labels)"))
    after = open_inputs(sweepfile.load(examples / "space.yaml")).dataset
    assert before.fingerprint != after.fingerprint


def test_a_text_that_was_received_counts_and_not_the_file(examples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = FINDERS["selection rule"]
    monkeypatch.setattr(finder, "_received", {})
    path = str(examples / "my_rule.py")
    assert finder.get(path).MAXIMISE is True
    finder.receive("MAXIMISE, NEEDS_TRUTH, score = False, False, len", path)
    assert finder.get(path).MAXIMISE is False
