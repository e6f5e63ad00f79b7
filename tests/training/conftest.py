"""A small synthetic data set that a network can learn: each class is a blob in its own place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.data.dataset import Augment, Dataset, LabelPlan, Split

CLASSES = 4


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.integers(0, 96, (count, 1, 8, 8))
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[0, 1 + 4 * row : 3 + 4 * row, 1 + 4 * column : 3 + 4 * column] += 140
    return images.astype(np.uint8), labels.astype(np.int64)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    train, test = blobs(160, 0), blobs(60, 1)
    names = tuple(f"blob {number}" for number in range(CLASSES))
    augment = Augment(flip=False, pad=1)
    return Dataset("blobs", names, Split(*train), Split(*test), augment, sha256="blobs")


@pytest.fixture(scope="session")
def plan(dataset: Dataset) -> LabelPlan:
    """32 labelled images, the last 40 for validation; every fifth label is wrong."""
    true = dataset.train.labels
    given = np.where(np.arange(len(true)) % 5 == 3, (true + 1) % CLASSES, true)
    places = np.arange(len(true))
    return LabelPlan(
        labelled=places[:32], unlabelled=places[:120], val=places[120:], given=given, true=true, sha256="plan"
    )


def make_spec(
    method: str = "plain", hyper: dict[str, Any] | None = None, model: str = "small_cnn", **train: Any
) -> TrialSpec:
    train = {"steps": 12, "batch_size": 16, "evaluations": 3, "lr": 0.05} | train
    return TrialSpec(
        code="",
        method=method,
        hyper={"model_ema": 0.9} if hyper is None else hyper,
        model=model,
        train=TrainSettings.model_validate(train),
        data=DataSettings.model_validate({}),
        labels=LabelSettings.model_validate({}),
        seeds=dict.fromkeys(AXES, 1),
    )
