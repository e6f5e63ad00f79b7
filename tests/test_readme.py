"""What the documents tell a reader to type exists: files, make targets, doors, keys of the sweep file that is shown."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import platform.sweepfile as sweepfile
from tests.runner.door import sweep

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md"]
SPACES = sorted((ROOT / "search_spaces").rglob("*.yaml"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document: str, language: str) -> list[str]:
    """The contents of a document's fenced blocks in one language."""
    return [text for kind, text in FENCE.findall((ROOT / document).read_text()) if kind == language]


def commands(document: str) -> list[list[str]]:
    """The words of every command in a document's shell blocks, continuation lines joined, comments left out."""
    lines = "\n".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document: str):
    named = {w[1] for w in commands(document) if w[0] == "make" and len(w) > 1}
    named |= set(re.findall(r"`make ([a-z]+)`", (ROOT / document).read_text()))
    assert named and named <= make_targets()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_doors_exist(document: str):
    named = set(re.findall(r"python -m (platform(?:\.\w+)?|tests\.\w+|methods\.\w+)", (ROOT / document).read_text()))
    assert named and [name for name in named if importlib.util.find_spec(name) is None] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_commands_exist(document: str):
    named = {word.rpartition("=")[2] for command in commands(document) for word in command}  # SPACE=file.yaml
    words = {word for word in named if word.endswith((".yaml", ".sh", ".py"))}
    missing = {word for word in words if not (ROOT / word).exists() and not word.startswith(("my_", "./my_", "/"))}
    assert not missing


@pytest.mark.parametrize("document", [*DOCUMENTS, "CHANGELOG.md"])
def test_links_lead_somewhere(document: str):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / document).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_help_lists_every_target_and_runs_without_an_environment(tmp_path: Path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    done = subprocess.run(["make", "help"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=20)
    assert make_targets() == set(re.findall(r"^\s+make ([a-z]+) ", done.stdout, re.MULTILINE))
    assert list(tmp_path.iterdir()) == [tmp_path / "Makefile"]


def test_sweep_files_shown_are_sweep_files(tmp_path: Path):
    sweepfile = pytest.importorskip("platform.sweepfile")
    shown = [text for document in DOCUMENTS for text in blocks(document, "yaml")]
    assert shown
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert sweepfile.load(file, []).name == yaml.safe_load(text)["name"]


def test_overrides_shown_are_understood(tmp_path: Path):
    """`make sweep SPACE=... ARGS="key=value ..."` and `python -m platform.sweep FILE key=value ...` of the README."""
    sweepfile = pytest.importorskip("platform.sweepfile")
    shown = []
    for words in commands("README.md"):
        given = dict(word.split("=", 1) for word in words if word.startswith(("SPACE=", "ARGS=")))
        if words[:2] == ["make", "sweep"] and given:
            shown.append((given.get("SPACE", "search_spaces/layermatch.yaml"), shlex.split(given["ARGS"])))
        elif "platform.sweep" in words:
            space, *rest = words[words.index("platform.sweep") + 1 :]
            shown.append((space, [word for word in rest if "=" in word]))
    assert len(shown) >= 6
    for space, overrides in shown:
        # The reader's folder is not here; whether it exists is checked when a sweep file is loaded.
        there = [f"data.path={tmp_path}" if word.startswith("data.path=") else word for word in overrides]
        sweepfile.load(ROOT / space, there)


def own_images(source: str) -> tuple[str, list[str]]:
    """The README's command for one's own images of a source: the sweep file, and what is changed in it."""
    for words in commands("README.md"):
        given = dict(word.split("=", 1) for word in words if word.startswith(("SPACE=", "ARGS=")))
        if f"data.source={source}" in given.get("ARGS", ""):
            return given["SPACE"], shlex.split(given["ARGS"])
    raise AssertionError(f"the README has no command for {source}")


def draw_images(folder: Path, count: int = 480) -> dict[str, Path]:
    """As many images of four classes, in a folder per class and in a table. By source, what data.path names."""
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    for number in range(count):
        label = "abcd"[number % 4]
        file = folder / "images" / label / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 96, (16, 16), dtype=np.uint8)
        pixels[number % 4 * 4 :][:4] += 140
        Image.fromarray(pixels).save(file)
        lines.append(f"{file},{label}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return {"image_folder": folder / "images", "csv": folder / "labels.csv"}


@pytest.mark.parametrize("source", ["image_folder", "csv"])
def test_the_recipe_for_ones_own_images_keeps_every_label(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from platform.runner.inputs import open_inputs

    monkeypatch.setenv("KURABE_CACHE", str(tmp_path / "cache"))
    space, overrides = own_images(source)
    path = draw_images(tmp_path)[source]
    sweep = sweepfile.load(ROOT / space, [f"data.path={path}" if "data.path" in word else word for word in overrides])
    inputs = open_inputs(sweep)
    plan = inputs.plans[0, 0]
    assert len(inputs.dataset.train) + len(inputs.dataset.test) == 480
    assert len(plan.labelled) + len(plan.val) == len(inputs.dataset.train) == 384
    assert set(plan.unlabelled.tolist()) == set(plan.labelled.tolist())  # no image lost its label
    assert len(sweep.methods) > 1 and sweep.methods[0].name == "supervised"


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_the_recipe_for_ones_own_images_runs(tmp_path: Path):
    space, overrides = own_images("image_folder")
    path = draw_images(tmp_path)["image_folder"]
    words = [f"data.path={path}" if "data.path" in word else word for word in overrides]
    short = ["train.steps=8", "budget.trials=1", "budget.repeats=1", "tracking=none", "--results", tmp_path]
    done = sweep(space, *words, *short, KURABE_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    leaderboard = (tmp_path / "mine" / "leaderboard.md").read_text()
    assert "346 labelled" in leaderboard and "\n| supervised | " in leaderboard
    provenance = json.loads((tmp_path / "mine" / "provenance.json").read_text())
    assert provenance["test_labels"] == "as given"
    lines = "\n".join(line for line in done.stdout.splitlines() if line.startswith("["))
    for text in (lines, leaderboard):  # nobody says that the labels of a folder are right
        assert "test accuracy (labels as given)" in text
        assert not re.search(r"test accuracy(?! \(labels as given\))", text)


@pytest.mark.parametrize("space", SPACES, ids=[str(s.relative_to(ROOT)) for s in SPACES])
def test_every_sweep_file_opens_with_the_command_that_runs_it(space: Path):
    assert space.read_text().startswith(f"# python -m platform.sweep {space.relative_to(ROOT)}\n")


def test_there_is_a_sweep_file_for_the_default_command():
    assert ROOT / "search_spaces" / "layermatch.yaml" in SPACES


def test_every_promise_names_tests_that_exist():
    text = (ROOT / "README.md").read_text()
    table = text[text.index("## What can go wrong") : text.index("## Your own images")]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert len(rows) >= 12
    for row in rows:
        named = re.findall(r"`[\w/]*?(test_\w+\.py)`", row.rsplit("|", 2)[1])
        assert named and set(named) <= there, row
