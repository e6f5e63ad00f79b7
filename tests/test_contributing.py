"""The plug-ins that CONTRIBUTING.md walks through are found, searched and trained, each kind of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platform.catalog as catalog
import platform.check as check
import platform.sweepfile as sweepfile
from platform.conformance import CHECKS, CHECKS_OF, Subject, run
from platform.runner.inputs import open_inputs
from platform.training.trial import Trial
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
    source, _, *_ = blocks("CONTRIBUTING.md", "python")
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
    _, source, *_ = blocks("CONTRIBUTING.md", "python")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(source, namespace)
    monkeypatch.chdir(example.parent)
    namespace["TestMyMethod"]().test_docs()


# -- the other kinds ----------------------------------------------------------------------------------------------

KINDS = {"data source": "source", "noise": "noise", "model": "model", "selection rule": "rule"}

ALL_KINDS = """\
name: every_kind
methods: [supervised]
data: {source: ./my_source.py, path: IMAGES}
labels: {noise: ./my_noise.py, rate: 0.4}
model: ./my_model.py
train: {steps: 6, evaluations: 3, batch_size: 16}
budget: {trials: 1}
select: ./my_rule.py
tracking: none
"""


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples of the other kinds, images for the source, and a sweep file that names all."""
    monkeypatch.setenv("KURABE_CACHE", str(tmp_path / "cache"))
    _, _, *sources = blocks("CONTRIBUTING.md", "python")
    for name, source in zip(KINDS.values(), sources, strict=True):
        (tmp_path / f"my_{name}.py").write_text(source)
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "my_images.npz", images=images, labels=np.arange(200) % 4)
    (tmp_path / "space.yaml").write_text(ALL_KINDS.replace("IMAGES", str(tmp_path / "my_images.npz")))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_each_example_is_short_and_keeps_to_its_contract(kind: str, examples: Path, capsys: pytest.CaptureFixture[str]):
    file = examples / f"my_{KINDS[kind]}.py"
    assert len(file.read_text().splitlines()) <= 30
    options = [f"path={examples / 'my_images.npz'}"] if kind == "data source" else []
    assert check.main([str(file), *options]) == 0
    out = capsys.readouterr().out
    assert f"{len(CHECKS_OF[kind])} checks: {len(CHECKS_OF[kind])} ok, 0 failed, 0 skipped" in out
    page = catalog.page(str(file))
    assert page.title.endswith(str(file)) and page.text


def test_a_sweep_file_names_all_of_them(examples: Path):
    sweep = sweepfile.load(examples / "space.yaml")
    assert {plug_in.kind: Path(plug_in.path).name for plug_in in sweep.plug_ins} == {
        kind: f"my_{name}.py" for kind, name in KINDS.items()
    }
    inputs = open_inputs(sweep)
    (study,) = sweep.studies()
    (plan,) = inputs.plans.values()
    assert inputs.dataset.name == "my_source" and inputs.dataset.num_classes == 4
    wrong = plan.given != plan.true
    assert 0 < wrong.sum() and set(plan.true[wrong]) == {0, 2}  # of even classes alone
    trial = Trial(study.resolve({}), inputs.dataset, plan, study.method.cls)
    assert type(trial.method.model).__name__ == "TinyCNN"
    reports = [report.metrics for report in trial.reports()]
    assert inputs.rule.name == "my_rule"
    assert inputs.rule.score(reports) == np.mean([report["noisy_val_accuracy"] for report in reports])


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
