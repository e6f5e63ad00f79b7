"""Open-set noise: images of classes that are none here, under the labels of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from platform.core.errors import UserError
from platform.core.spec import AXES, DataSettings, LabelSettings, TrialSpec
from platform.data import open_dataset
from platform.data.dataset import Split
from platform.data.label_plan import make_plan
from platform.data.open_set import relabel
from platform.data.sources.source import Reading

NAMES = ("ant", "bee", "cat", "dog")


def reading(labels: list[int], true: list[int] | None = None) -> Reading:
    def split(values: list[int], truth: list[int] | None) -> Split:
        known = None if truth is None else np.array(truth)
        return Split(np.zeros((len(values), 1, 2, 2), np.uint8), np.array(values), known, {"line": np.array(values)})

    return Reading(split(labels, true), split([0, 1, 2, 3], None), NAMES)


def relabelled(labels: list[int], true: list[int] | None = None, **settings: Any) -> tuple[Reading, list[int]]:
    found, rows = relabel(reading(labels, true), DataSettings.model_validate(settings), seed=3)
    return found, rows.tolist()


def test_by_hand():
    found, rows = relabelled([0, 1, 2, 3, 1, -1, 2], open_set=["bee"])
    assert found.class_names == ("ant", "cat", "dog") and rows == list(range(7))
    labels = found.train.labels.tolist()
    assert [labels[i] for i in (0, 2, 3, 5, 6)] == [0, 1, 2, -1, 1] and {labels[1], labels[4]} <= {0, 1, 2}
    assert found.train.true_labels is not None
    assert found.train.true_labels.tolist() == [0, -1, 1, 2, -1, -1, 1]
    assert found.test is not None and found.test.labels.tolist() == [0, -1, 1, 2]
    assert found.train.columns == {}
    assert found.notes == ("open-set noise: 2 training images of bee carry labels of other classes",)


def test_the_class_of_origin_decides_not_the_given_label():
    found, _ = relabelled([0, 1, 1, 3], true=[1, 0, -1, 3], open_set=["bee"])
    assert found.train.true_labels is not None
    assert found.train.true_labels.tolist() == [-1, 0, -1, 2]
    assert found.train.labels[1] == -1  # labelled as what is no class here: without a label
    assert found.train.labels[0] >= 0 and found.train.labels[2] >= 0


def test_each_other_class_is_equally_likely():
    found, _ = relabelled([3] * 3000, open_set=["dog"])
    assert np.abs(np.bincount(found.train.labels) - 1000).max() < 110


def test_a_rate_keeps_some_of_them():
    labels = [0, 1, 2] * 30 + [3] * 60
    found, rows = relabelled(labels, open_set=["dog"], open_set_rate=0.25)
    kept = [row for row in rows if row >= 90]
    assert len(rows) == 120 and len(kept) == 30 and "30 training images" in found.notes[0]
    with pytest.raises(UserError, match="a rate of 0.5 needs 90 images of these classes, 60 are there") as caught:
        relabelled(labels, open_set=["dog"], open_set_rate=0.5)
    assert caught.value.problems[0].key == "data.open_set_rate" and "at most 0.400" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("names", "words"), [(["cow"], "no class 'cow'"), (["ant", "bee", "cat"], "3 of 4 classes are of no class here")]
)
def test_classes_that_cannot_be_left_out(names, words):
    with pytest.raises(UserError, match=words) as caught:
        relabelled([0, 1, 2, 3], open_set=names)
    assert caught.value.problems[0].key == "data.open_set"


def test_digits_with_images_of_no_class():
    settings = DataSettings.model_validate({"source": "digits", "open_set": [8, 9], "open_set_rate": 0.1})
    dataset, plain = open_dataset(settings), open_dataset(DataSettings.model_validate({}))
    assert dataset.class_names == tuple("01234567") and dataset.fingerprint != plain.fingerprint
    true = dataset.train.true_labels
    assert true is not None and (true < 0).mean() == pytest.approx(0.1, abs=0.001)
    assert dataset.test.labels.max() == 7 and len(dataset.test) < len(plain.test)
    plan = make_plan(dataset, LabelSettings(noise="symmetric", rate=0.2, clean=40), dict.fromkeys(AXES, 0))
    assert plan.true is not None and (plan.true[plan.clean] >= 0).all()
    assert 0.05 < (plan.true[plan.labelled] < 0).mean() < 0.15


def test_rows_without_open_set_noise_keep_their_keys():
    assert not {"open_set", "open_set_rate"} & DataSettings.model_validate({}).model_dump().keys()
    seeds = dict.fromkeys(AXES, 0)
    rest: dict[str, Any] = {"method": "m", "hyper": {}, "model": "n", "train": {}, "labels": {}, "seeds": seeds}
    plain, other = (TrialSpec(data=DataSettings.model_validate(data), **rest) for data in ({}, {"open_set": ["9"]}))
    assert plain.key != other.key
    assert TrialSpec.model_validate(other.model_dump()).key == other.key
