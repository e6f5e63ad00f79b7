"""The smallest run of any sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from platform.sweepfile import Sweep, load, smoke

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "search_spaces").rglob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_sweeps_become_small(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sweep = load(path)
    small = smoke(sweep)
    assert small.name == f"{sweep.name}-smoke"
    assert [entry.name for entry in small.methods] == [entry.name for entry in sweep.methods]
    assert (small.data.source, small.model, small.tracking) == ("digits", "small_cnn", sweep.tracking)
    for study in small.studies():
        spec = study.resolve(study.start)
        assert (study.trials, study.index) == (2 if study.space else 1, 0)
        assert (spec.train.steps, spec.train.evaluations, spec.train.batch_size) == (6, 2, 8)
        assert spec.hyper.get("uratio", 1) == 1
        assert spec.hyper.get("meta_batch_size", 8) == 8
        assert not {"train.batch_size", "uratio", "meta_batch_size"} & set(study.space)


def test_conditions_on_what_is_held_are_settled(sweep: Callable[..., Sweep]) -> None:
    small = smoke(
        sweep(
            "methods: [fixmatch]",
            "search={uratio: {choice: [1, 7]}, threshold: {uniform: [0.7, 0.9], when: {uratio: 7}}, "
            "train.batch_size: {choice: [8, 16]}, train.lr: {uniform: [0.1, 0.2], when: {train.batch_size: 8}}}",
        )
    )
    assert list(small.studies()[0].space) == ["train.lr"]


def test_images_of_ones_own_stay(sweep: Callable[..., Sweep]) -> None:
    text = "methods: [mixup]\ndata: {source: parquet, path: somewhere}\n"
    small = smoke(sweep(text, "labels.noise=column:worse_label"))
    assert small.data.options == {"path": "somewhere"}
    assert (small.data.source, small.data.limit, small.labels.noise) == ("parquet", 256, "column:worse_label")


def test_columns_and_counts_that_digits_lack_go(sweep: Callable[..., Sweep]) -> None:
    text = "methods: [mixup]\ndata: {source: cifar10}\n"
    small = smoke(sweep(text, "labels={total: 4000, noise: column:worse_label, val: 5000, imbalance: 10}"))
    assert small.labels.model_dump() == {
        "per_class": 2, "total": None, "imbalance": 1.0, "noise": "symmetric", "rate": 0.4, "val": 0.2,
    }  # fmt: skip
