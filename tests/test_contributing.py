"""The method that CONTRIBUTING.md walks through is a method: it is found, searched and trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import platform.sweepfile as sweepfile
from platform.conformance import CHECKS, Subject, run
from tests import architecture
from tests.methods.toy import ToyBatches, make_method, make_optimizer, train
from tests.test_readme import ROOT, blocks

SPACE = """\
name: example
methods: [./my_method.py]
data: {source: digits}
labels: {per_class: 4}
model: small_cnn
train: {steps: 10}
search: {floor: auto}
budget: {trials: 2}
"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    source, _ = blocks("CONTRIBUTING.md", "python")
    file = tmp_path / "my_method.py"
    file.write_text(source)
    return file


def test_the_example_is_short(example: Path):
    assert len(example.read_text().splitlines()) <= 40


def test_the_example_learns(example: Path):
    method = make_method(str(example), floor=0.02)
    losses = train(method, ToyBatches(method), make_optimizer(method.model), last=60)
    assert losses[-1]["labelled"] < losses[0]["labelled"] / 2
    assert 0 < method.read_records()["trusted"] <= 1


def test_the_example_is_searched_from_a_sweep_file(example: Path):
    space = example.with_name("space.yaml")
    space.write_text(SPACE)
    sweep = sweepfile.load(space)
    (entry,) = sweep.methods
    assert entry.name == "my_method"
    assert {key: str(found.range) for key, found in sweep.given[entry.name].space.items()} == {
        "floor": "uniform [0.0, 0.1]"
    }


def test_the_example_keeps_to_the_contract(example: Path):
    subject = Subject.of(str(example))
    results = [run(name, subject) for name in CHECKS]
    assert {r.check.name: r.message for r in results if r.status == "failed"} == {}


def test_the_examples_test_class_finds_it(example: Path, monkeypatch: pytest.MonkeyPatch):
    _, source = blocks("CONTRIBUTING.md", "python")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(source, namespace)
    monkeypatch.chdir(example.parent)
    namespace["TestMyMethod"]().test_docs()


def test_every_check_is_explained():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert set(CHECKS) <= {name.strip(" `") for row in rows for name in row.split(",")}


def test_every_file_it_names_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:platform|methods|tests|search_spaces|cluster)/[\w./-]*)`", text))
    missing = [name for name in named if not (ROOT / name).exists()]
    assert len(named) > 25 and not missing


def test_the_map_shows_every_room():
    (shown, *_) = blocks("CONTRIBUTING.md", "")
    assert {name for name in architecture.ALLOWED if not re.search(rf"\b{name}\b", shown)} == set()


def test_the_walk_of_a_learning_rate_names_each_file_once():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    walk = text[text.index("### A learning rate") : text.index("### A score")]
    files = re.findall(r"`([\w/]+\.py)`", walk)
    forms = [line for line in walk.splitlines() if line.startswith("| ") and ".py" in line]
    assert len(files) == len(set(files)) == 15 and len(forms) == 8
