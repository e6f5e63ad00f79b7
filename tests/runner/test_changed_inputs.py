"""Other code, data or labels than those that the rows there were made from: refused, in words that say what changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import platform.core.spec as spec
from platform import sweepfile
from platform.core.errors import UserError
from platform.core.fingerprints import Fingerprints, mixed_versions
from platform.core.ledger import Ledger
from platform.runner.driver import Driver
from platform.runner.inputs import open_inputs
from platform.runner.session import Session
from platform.sweepfile.schema import with_defaults
from tests.runner import door
from tests.runner.sweeps import play

PLUGIN = '''"""Supervised training."""
from torch.nn.functional import cross_entropy

from methods.base import Method, Terms


class Own(Method):
    """Cross-entropy on the labelled images."""

    def loss(self, batch):
        return Terms(labelled=1.0 * cross_entropy(self.model(batch.labelled.x), batch.labelled.y))
'''

SPACE = """
name: mine
methods: [./own.py, supervised]
data: {{source: image_folder, path: {folder}/images}}
labels: {{per_class: 2, val: 4}}
train: {{steps: 4, evaluations: 2, batch_size: 4, diagnostics: "off"}}
search:
  model_ema: {{uniform: [0.9, 0.999]}}
budget: {{trials: 3, scheduler: none, sampler: random}}
resources: {{concurrent: 1}}
tracking: none
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plug-in, 40 images of two classes, and a sweep file over both."""
    monkeypatch.setenv("KURABE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own.py").write_text(PLUGIN)
    (tmp_path / "mine.yaml").write_text(SPACE.format(folder=tmp_path))
    generator = np.random.default_rng(0)
    for kind in ("cat", "dog"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / kind / f"{number}.png")
    (tmp_path / "r").mkdir()
    return tmp_path


def opened(folder: Path, *overrides: str) -> tuple[Driver, Fingerprints]:
    sweep = sweepfile.load(folder / "mine.yaml", list(overrides))
    inputs = open_inputs(sweep)
    made_from = inputs.fingerprints(sweep)
    ledger = Ledger(folder / "r", sweep.resolved(), with_defaults, made_from)
    return Driver(sweep, inputs.rule, ledger, [], inputs.dataset.fingerprint, inputs.label_hashes), made_from


def play_some(folder: Path, trials: int = 4) -> None:
    book, _ = opened(folder)
    for _ in range(trials):
        play(book, book.next_row(), [0.1, 0.5])
    book.close()


def refusal(folder: Path, *overrides: str) -> str:
    before = (folder / "r" / "ledger.jsonl").read_bytes()
    with pytest.raises(UserError) as caught:
        opened(folder, *overrides)
    assert (folder / "r" / "ledger.jsonl").read_bytes() == before
    words = str(caught.value)
    assert "results must not mix" in words and "name=OTHER" in words and "--fresh" in words
    return words


def edit(folder: Path) -> None:
    (folder / "own.py").write_text(PLUGIN.replace("1.0 *", "2.0 *"))


def delete(folder: Path, count: int = 4) -> None:
    for number in range(count):
        (folder / "images" / "cat" / f"{number}.png").unlink()


def test_changed_code_is_refused_with_the_method_and_how_many_trials_are_of_the_code_before(mine):
    play_some(mine)
    edit(mine)
    words = refusal(mine, "budget.trials=5")
    assert "code of method own: " in words and "; 2 of its trials are of the code before" in words
    assert "supervised" not in words and "data" not in words.replace("code, data or labels", "")
    (mine / "own.py").write_text(PLUGIN)  # put back, it goes on
    book, _ = opened(mine, "budget.trials=5")
    assert book.left() == 6
    book.ledger.close()


def test_changed_data_is_refused_with_the_number_of_images_before_and_after(mine):
    play_some(mine)
    delete(mine)
    words = refusal(mine)
    assert "data: 32 training images and 8 test images -> 29 training images and 7 test images" in words
    assert "code of" not in words and "labels of study 0: " in words


def test_as_many_images_but_others(mine):
    play_some(mine, trials=1)
    shutil.copy(mine / "images" / "dog" / "1.png", mine / "images" / "dog" / "2.png")
    assert "data: as many images as before (32 training images and 8 test images), but others" in refusal(mine)


def test_a_changed_model_or_rule_is_refused(mine, monkeypatch):
    from platform.core.registry import MODELS, RULES

    play_some(mine, trials=1)
    for finder, name, words in (
        (MODELS, "small_cnn", "code of model small_cnn: "),
        (RULES, "noisy_val_accuracy", "code of selection rule noisy_val_accuracy: "),
    ):
        other = mine / f"{name}_changed"
        shutil.copytree(finder.folder, other)
        (other / f"{name}.py").write_text((other / f"{name}.py").read_text() + "\n# changed\n")
        with monkeypatch.context() as changed:
            changed.setattr(finder, "folder", other)
            assert words in refusal(mine)


def test_another_training_version_is_refused_as_that(mine, monkeypatch):
    play_some(mine, trials=1)
    monkeypatch.setattr(spec, "TRAINING_VERSION", spec.TRAINING_VERSION + 1)
    words = refusal(mine)
    assert f"training version {spec.TRAINING_VERSION - 1} -> {spec.TRAINING_VERSION}" in words
    assert "code of" not in words


def test_rows_tell_what_the_first_line_does_not(mine):
    """Studies that were asked for later are not in the first line; a row has the hash of its labels, data and code."""
    book, made_from = opened(mine, "budget.trials=1")
    book.ledger.close()
    book, more = opened(mine, "budget.trials=1", "budget.studies=2")
    while (row := book.next_row()) is not None:
        play(book, row, [0.1, 0.5])
    book.close()
    rows = list(book.rows.values())
    assert "study 1" not in made_from.labels and not more.differences(made_from, rows)
    other = replace(more, labels=more.labels | {"study 1": "e" * 64}, data="other")
    said = other.differences(made_from, rows)
    assert [line.partition(":")[0] for line in said] == ["data", "labels of study 1"]
    assert [line.partition(":")[0] for line in other.differences(None, rows)] == ["data", "labels of study 1"]


def test_other_versions_of_libraries_go_on_and_are_recorded(mine):
    play_some(mine, trials=1)
    sweep = sweepfile.load(mine / "mine.yaml")
    inputs = open_inputs(sweep)
    here = inputs.fingerprints(sweep)
    assert set(here.versions) == {"torch", "numpy"}
    later = replace(here, versions=here.versions | {"torch": "99.0"})

    def go_on(made_from: Fingerprints, trials: int) -> list[dict[str, str]]:
        ledger = Ledger(mine / "r", sweep.resolved(), with_defaults, made_from)
        book = Driver(sweep, inputs.rule, ledger, [], inputs.dataset.fingerprint, inputs.label_hashes)
        for _ in range(trials):
            play(book, book.next_row(), [0.1, 0.5])
        book.ledger.close()
        return ledger.versions

    assert go_on(later, 0) == [here.versions]  # nothing was made with it
    assert go_on(later, 2) == go_on(later, 1) == [here.versions, later.versions]
    assert go_on(here, 1) == [here.versions, later.versions, here.versions]
    said = mixed_versions([here.versions, later.versions])
    assert said.endswith(f"different versions of libraries: torch {here.versions['torch']}, then 99.0")
    assert mixed_versions([here.versions, dict(here.versions)]) == mixed_versions([]) == ""


def test_a_sweep_with_mixed_versions_says_so_at_its_end_and_in_its_files(mine, monkeypatch, capsys):
    import platform.runner.inputs as inputs

    real = inputs.versions()
    sweep = sweepfile.load(mine / "mine.yaml", ["methods=[supervised]", "budget.trials=1"])
    for torch in (real["torch"], "99.0"):
        monkeypatch.setattr(inputs, "versions", lambda torch=torch: real | {"torch": torch})
        session = Session(sweep, mine / "r", "python -m platform.sweep mine.yaml")
        folder = mine / "r" / "mine"
        folder.mkdir(exist_ok=True)
        ledger = Ledger(folder, sweep.resolved(), with_defaults, session.made_from)
        book = Driver(sweep, session.inputs.rule, ledger, [], session.inputs.dataset.fingerprint,
                      session.inputs.label_hashes)  # fmt: skip
        row = book.next_row()
        if row is not None:
            play(book, row, [0.1, 0.5], "failed")
        book.ledger.close()
    assert session.run() in (0, 1)
    words = f"different versions of libraries: torch {real['torch']}, then 99.0"
    assert words in " ".join(capsys.readouterr().out.split())
    assert words in (folder / "leaderboard.md").read_text()
    versions = json.loads((folder / "provenance.json").read_text())["versions_in_order"]
    assert [one["torch"] for one in versions] == [real["torch"], "99.0"]


def test_damaged_files_that_are_made_from_the_ledger_are_made_again(mine):
    sweep = sweepfile.load(mine / "mine.yaml", ["methods=[supervised]", "budget.trials=2"])
    session = Session(sweep, mine / "r", "python -m platform.sweep mine.yaml")
    folder = mine / "r" / "mine"
    folder.mkdir()
    ledger = Ledger(folder, sweep.resolved(), with_defaults, session.made_from)
    book = Driver(sweep, session.inputs.rule, ledger, [], session.inputs.dataset.fingerprint,
                  session.inputs.label_hashes)  # fmt: skip
    while (row := book.next_row()) is not None:
        play(book, row, [0.1, 0.5])
    book.ledger.close()
    assert session.run() == 0
    names = ("trials.csv", "curves.parquet", "leaderboard.md", "sweep.yaml")
    whole = {name: (folder / name).read_bytes() for name in names}
    curves = pd.read_parquet(folder / "curves.parquet")
    for damage in (
        lambda data: data.replace(b"0.5", b"0.9"),
        lambda data: data[: len(data) // 2],
        lambda data: b"\x00\xff" * 300,
        lambda data: b"",
    ):
        for name in names:
            (folder / name).write_bytes(damage(whole[name]))
        assert session.run() == 0
        assert {name: (folder / name).read_bytes() for name in ("trials.csv", "sweep.yaml")} == {
            name: whole[name] for name in ("trials.csv", "sweep.yaml")
        }
        assert "0.5" in (folder / "leaderboard.md").read_text()
        pd.testing.assert_frame_equal(pd.read_parquet(folder / "curves.parquet"), curves)


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_the_command_refuses_changed_code_and_data_and_changes_nothing(mine):
    words: tuple[Any, ...] = (mine / "mine.yaml", "--results", mine / "r", "methods=[./own.py]")
    assert (done := door.sweep(*words)).returncode == 0, done.stdout + done.stderr
    edit(mine)
    delete(mine)

    def files() -> dict[Path, bytes]:
        """All but the process number of the last holder of the lock."""
        paths = (path for path in (mine / "r").rglob("*") if path.is_file() and path.suffix != ".pid")
        return {path: path.read_bytes() for path in paths}

    kept = files()
    refused = door.sweep(*words, "budget.trials=5")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "code of method own: " in refused.stderr and "32 training images and 8 test images -> " in refused.stderr
    assert "3 of its trials are of the code before" in refused.stderr and "nothing was started" in refused.stderr
    assert files() == kept
    assert door.sweep(*words, "budget.trials=1", "--fresh").returncode == 0
