"""What the test images are judged by, what is said of it, and hints that name only what a source has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from methods.oracle import Oracle
from platform.core.errors import UserError
from platform.core.registry import SOURCES
from platform.core.spec import AXES, DataSettings, LabelSettings, TrialSpec
from platform.data.label_plan import make_plan
from platform.training.evaluation import Evaluator
from platform.training.trial import Trial
from tests.data.conftest import opened, pixels, png
from tests.data.test_sources_local import write_parquet

SEEDS = dict.fromkeys(AXES, 0)
DOUBT = "test images are judged by their labels as given, which may be as wrong as those trained on"


def write_csv(folder: Path, truth: Any = None) -> Path:
    """20 images of two classes. truth: the true label of row i, or None for a table without that column."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,label,split,other" + (",true_label" if truth else "")]
    for i in range(20):
        (folder / f"{i}.png").write_bytes(png(pixels(i)))
        line = f"{i}.png,{i % 2},{'test' if i >= 12 else 'train'},{(i + 1) % 2}"
        lines.append(line + (f",{truth(i)}" if truth else ""))
    table = folder / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def notes(data: Any, **labels: Any) -> list[str]:
    return list(make_plan(data, LabelSettings(**labels), SEEDS).notes)


def test_an_image_folder_knows_no_truth(folders):
    data = opened("image_folder", path=folders(cat=10, dog=10))
    assert not data.knows_test_truth and DOUBT in notes(data)


@pytest.mark.parametrize("labels", [{}, {"noise": "column:other"}, {"noise": "symmetric", "rate": 0.4}])
def test_noise_on_training_labels_makes_no_test_label_true(tmp_path: Path, labels: dict[str, Any]):
    data = opened("csv", path=write_csv(tmp_path))
    assert not data.knows_test_truth and DOUBT in notes(data, **labels)


def test_true_labels_are_known_where_a_column_or_the_source_says_so(tmp_path: Path):
    table = write_csv(tmp_path / "csv", truth=lambda i: (i + 1) % 2)
    truth = write_parquet(tmp_path / "all.parquet", [0, 1] * 10, truth=[0, 1] * 10)
    known = [opened("csv", path=table), opened("parquet", path=truth, true_label_column="truth"), opened("digits")]
    assert [data.knows_test_truth for data in known] == [True] * 3
    assert not any(DOUBT in notes(data) for data in known)
    assert known[0].test_labels.tolist() == [(i + 1) % 2 for i in range(12, 20)]
    assert not opened("parquet", path=truth).knows_test_truth


def test_truth_of_training_images_alone_leaves_the_test_labels_as_given(tmp_path: Path):
    """Verified labels are often there for some training images only."""
    data = opened("csv", path=write_csv(tmp_path, truth=lambda i: i % 2 if i < 6 else ""))
    assert not data.knows_test_truth and DOUBT in notes(data)
    plan = make_plan(data, LabelSettings(), SEEDS)
    found = Evaluator(data, plan, _NoBatches(), 8, False).test_labels
    assert found.tolist() == data.test.labels.tolist() == [i % 2 for i in range(12, 20)]


class _NoBatches:
    device = "cpu"


LOCAL = [name for name in SOURCES.names() if SOURCES.get(name).local]


@pytest.mark.parametrize("name", LOCAL)
def test_hints_name_only_keys_that_the_source_has(name: str, tmp_path: Path, folders):
    source = SOURCES.get(name)
    keys = {*DataSettings.model_fields, *source.Options.model_fields}
    path = {"image_folder": folders(cat=10, dog=10), "csv": write_csv(tmp_path / "csv")}
    path["parquet"] = write_parquet(tmp_path / "all.parquet", [0, 1] * 10)
    data = opened(name, path=path[name])
    plan = make_plan(data, LabelSettings(), SEEDS)
    spec = TrialSpec(
        method="oracle", hyper={}, model="small_cnn", train={}, data={"source": name}, labels={}, seeds=SEEDS
    )
    with pytest.raises(UserError) as caught:
        Trial(spec, data, plan, Oracle)
    text = caught.value.problems[0].hint
    assert source.truth_hint in text and any(source.truth_hint in note for note in plan.notes)
    assert set(re.findall(r"data\.(\w+)", text)) <= keys
    assert np.all(plan.given >= 0)
