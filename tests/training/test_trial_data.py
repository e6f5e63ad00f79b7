"""What the trials of one process share: one dataset at a time, its plans and images, checked against the driver's."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform.core.spec import DataSettings, LabelSettings, TrialSpec
from platform.data.device_images import DeviceImages
from platform.training import trial_data
from platform.training.trial_data import TrialData
from tests.training.conftest import make_spec


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURABE_CACHE", str(tmp_path))


def spec_of(limit: int = 100, per_class: int = 2, **changes: object) -> TrialSpec:
    settings = {"data": DataSettings(limit=limit), "labels": LabelSettings(per_class=per_class)}
    return make_spec().model_copy(update=settings | changes)


def test_the_same_settings_are_loaded_once():
    data = TrialData()
    dataset, plan = data.load(spec_of())
    assert len(dataset.train) == 100 and len(plan.labelled) == 20
    again, same_plan = data.load(spec_of())
    assert again is dataset and same_plan is plan


def test_other_labels_or_seeds_give_another_plan_of_the_same_dataset():
    data = TrialData()
    dataset, plan = data.load(spec_of())
    data.images = DeviceImages(dataset, "cpu")
    more, more_labelled = data.load(spec_of(per_class=3))
    assert more is dataset and len(more_labelled.labelled) == 30
    seeds = spec_of().seeds | {"split": 2}
    assert data.load(spec_of(seeds=seeds))[1].sha256 != plan.sha256
    assert data.load(spec_of())[1] is plan and data.images.dataset is dataset


def test_another_dataset_or_data_seed_releases_the_one_before():
    data = TrialData()
    dataset, plan = data.load(spec_of())
    data.images = DeviceImages(dataset, "cpu")
    other, _ = data.load(spec_of(limit=90))
    assert len(other.train) == 90 and data.images is None
    back, plan_again = data.load(spec_of())
    assert back is not dataset and back.sha256 == dataset.sha256
    assert plan_again is not plan and plan_again.sha256 == plan.sha256
    reseeded, _ = data.load(spec_of(seeds=spec_of().seeds | {"data": 2}))
    assert reseeded.sha256 != dataset.sha256, "the data seed decides which images `limit` leaves"


def test_other_data_or_labels_than_the_drivers_are_an_error():
    data = TrialData()
    dataset, plan = data.load(spec_of())
    hashes = {"data_hash": dataset.fingerprint, "labels_hash": plan.sha256}
    assert data.load(spec_of(**hashes))[1] is plan
    for name, wrong in (("data", {"data_hash": "0" * 25}), ("labels", {"labels_hash": "0" * 64})):
        with pytest.raises(RuntimeError, match=f"sees other {name} than the driver: sha256 .*, not 000000000000"):
            data.load(spec_of(**hashes | wrong))


def test_a_dataset_that_cannot_be_opened_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    data, real = TrialData(), trial_data.open_dataset
    data.load(spec_of())

    def fails(*_: object) -> None:
        raise OSError("the disk is away")

    monkeypatch.setattr(trial_data, "open_dataset", fails)
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            data.load(spec_of(limit=90))
    monkeypatch.setattr(trial_data, "open_dataset", real)
    assert len(data.load(spec_of(limit=90))[0].train) == 90
