"""Batches of a small made-up dataset, and what tests ask of two of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.base import Batch, Stream, Views
from platform.data.batches import Batches
from platform.data.dataset import Augment, Dataset, LabelPlan, Split

ALL = Views(labelled=("weak",), unlabelled=("weak", "strong"), meta=("plain", "strong"))
SIZES = {"labelled": 16, "unlabelled": 28, "meta": 10}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def make_dataset(channels: int = 3, size: int = 12, extra: int = 0, sha256: str = "a" * 64) -> Dataset:
    """200 training, 30 test images, all different, with labels that noise has changed at every fifth image."""
    rng = np.random.default_rng(7)

    def images(count: int) -> np.ndarray:
        base = rng.integers(0, 180, (count, channels, 1, 1))
        return (base + rng.integers(0, 76, (count, channels, size, size))).astype(np.uint8)

    labels = rng.integers(0, 4, 200)
    return Dataset(
        name="made",
        class_names=("a", "b", "c", "d"),
        train=Split(images(200), labels),
        test=Split(images(30), rng.integers(0, 4, 30)),
        augment=Augment(pad=2),
        sha256=sha256,
        extra=images(extra) if extra else None,
    )


def make_plan(dataset: Dataset, known: bool = True) -> LabelPlan:
    """40 labelled, 40 held out, the rest and the images without label unlabelled."""
    true = dataset.train.labels
    given = np.where(np.arange(200) % 5 == 0, (true + 1) % 4, true)
    order = np.random.default_rng(1).permutation(200)
    val, rest = np.sort(order[:40]), np.sort(order[40:])
    extra = 0 if dataset.extra is None else len(dataset.extra)
    unlabelled = np.concatenate([rest, 200 + np.arange(extra)])
    return LabelPlan(rest[:40], unlabelled, val, given, true if known else None, "p")


def make(views: Views = ALL, sizes: dict[str, int] = SIZES, seed: int = 0, **options: Any) -> Batches:
    dataset = options.pop("dataset", None) or make_dataset()
    plan = options.pop("plan", None) or make_plan(dataset)
    return Batches(dataset, plan, views, sizes, options.pop("device", "cpu"), seed, **options)


def tensors(batch: Batch) -> Iterator[Tensor]:
    for stream in (batch.labelled, batch.unlabelled, batch.meta):
        if stream is not None:
            yield from (*stream.views, stream.y, stream.true, stream.index)


def same(one: Batch, other: Batch) -> bool:
    pairs = list(zip(tensors(one), tensors(other), strict=True))
    return len(pairs) > 0 and all(torch.equal(a, b) for a, b in pairs)


def asked(stream: Stream | None) -> Stream:
    assert stream is not None
    return stream
