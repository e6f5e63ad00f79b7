"""The dataset and the label plan of a trial, kept by the process that trains one trial after the other."""

from __future__ import annotations

from typing import Any

from platform.core.spec import TrialSpec

LOADED: dict[str, Any] = {}
"""Datasets and label plans of this process, by their settings."""


def load_data(spec: TrialSpec) -> tuple[Any, Any]:
    """Dataset and label plan of a trial, kept by the process. RuntimeError where this node sees other data."""
    from platform.data import open_dataset
    from platform.data.label_plan import make_plan

    data_key = spec.data.model_dump_json() + str(spec.seeds["data"])
    if data_key not in LOADED:
        LOADED.clear()  # another data set: one sweep has one, do not hoard
        LOADED[data_key] = open_dataset(spec.data, spec.seeds["data"])
    dataset = LOADED[data_key]
    plan_key = f"{data_key}|{spec.labels.model_dump_json()}|{sorted(spec.seeds.items())}"
    if plan_key not in LOADED:
        LOADED[plan_key] = make_plan(dataset, spec.labels, spec.seeds)
    plan = LOADED[plan_key]
    facts = (("data", dataset.fingerprint, spec.data_hash), ("labels", plan.sha256, spec.labels_hash))
    for name, here, driver in facts:
        if driver and here != driver:
            raise RuntimeError(f"this node sees other {name} than the driver: sha256 {here[:12]}, not {driver[:12]}")
    return dataset, plan
