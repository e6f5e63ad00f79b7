"""What the documents tell a reader to type exists: files, make targets, doors, keys of the sweep file that is shown."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

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
    assert missing <= {"cluster/my-gpu.yaml"}  # made by the commands in the head of cluster/gpu.yaml


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


@pytest.mark.parametrize("space", SPACES, ids=[str(s.relative_to(ROOT)) for s in SPACES])
def test_every_sweep_file_opens_with_the_command_that_runs_it(space: Path):
    assert space.read_text().startswith(f"# python -m platform.sweep {space.relative_to(ROOT)}\n")


def test_there_is_a_sweep_file_for_the_default_command():
    assert ROOT / "search_spaces" / "layermatch.yaml" in SPACES
