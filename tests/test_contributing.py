"""The method that CONTRIBUTING.md walks through is a method: it is found, searched and trained."""

from __future__ import annotations

from pathlib import Path

import pytest

import platform.sweepfile as sweepfile
from tests.methods.toy import ToyBatches, make_method, make_optimizer, train
from tests.test_readme import blocks

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
    (source,) = blocks("CONTRIBUTING.md", "python")
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
