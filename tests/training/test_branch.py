"""A trial that starts from another one's state, with other values: what is said to act in flight does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from methods.ranges import Range
from platform.core.errors import UserError
from platform.core.registry import METHODS
from platform.data.dataset import Dataset, LabelPlan
from platform.training.trial import Trial
from tests.training.conftest import make_spec

SMALL = {"uratio": 1, "meta_batch_size": 8}
FAR = {"threshold": 0.0, "model_ema": 0.1, "selector_ema": 0.1, "centre_ema": 0.1, "clean_threshold": 0.9999}
FAR |= {"ramp": 1.0, "forget_ramp": 1.0}
"""Values that act on a network of a few steps too, where the range's own ends need not."""
NEEDED = {
    "centre_temperature": {"centre_mode": "proto", "threshold": 0.0},
    "centre_ema": {"threshold": 0.0},
    "centre_weight": {"threshold": 0.0},
    "lambda_u": {"threshold": 0.0},
    "ramp": {"threshold": 0.0},
    "n_sigma": {"selector_ema": 0.1},
}
CASES = [(name, hyper) for name in METHODS.names() for hyper in METHODS.get(name).in_flight]


def spec(name: str, **hyper: Any) -> Any:
    allowed = METHODS.get(name).Hyper.model_fields
    given = {key: value for key, value in (SMALL | hyper).items() if key in allowed}
    complete = METHODS.get(name).Hyper(**given).model_dump(mode="json")
    return make_spec(name, complete, steps=12, batch_size=8)


def other(name: str, key: str) -> Any:
    """A value far from the default."""
    if key in FAR:
        return FAR[key]
    range_: Range = METHODS.get(name).search_ranges()[key]
    default = METHODS.get(name).Hyper.model_fields[key].default
    return max((range_.low, range_.high), key=lambda end: abs(end - default))


def state(trial: Trial) -> dict[str, torch.Tensor]:
    """Weights, averages and what else the method remembers in tensors."""
    return {name: value.clone() for name, value in trial.method.state_dict().items() if isinstance(value, torch.Tensor)}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), CASES, ids=[f"{name}-{key}" for name, key in CASES])
def test_what_acts_in_flight_acts(dataset: Dataset, plan: LabelPlan, tmp_path: Path, name: str, key: str) -> None:
    _acts(dataset, plan, tmp_path, name, key)


@pytest.mark.parametrize(("name", "key"), [("fixmatch", "threshold"), ("supervised", "model_ema"), ("sce", "beta")])
def test_what_acts_in_flight_acts_here(dataset: Dataset, plan: LabelPlan, tmp_path: Path, name: str, key: str) -> None:
    _acts(dataset, plan, tmp_path, name, key)


def _acts(dataset: Dataset, plan: LabelPlan, tmp_path: Path, name: str, key: str) -> None:
    needed = {k: v for k, v in NEEDED.get(key, {}).items() if k != key}
    before = spec(name, **needed)
    parent = Trial(before, dataset, plan, METHODS.get(name))
    parent.advance(8)
    parent.save(tmp_path / "parent.pt", {"reports": [1]})
    parent.advance(4)

    def child(**changed: Any) -> dict[str, torch.Tensor]:
        trial = Trial(spec(name, **needed, **changed), dataset, plan, METHODS.get(name))
        assert trial.branch(tmp_path / "parent.pt", before.key) == {"reports": [1]}
        assert trial.step == 8
        trial.advance(4)
        return state(trial)

    assert same(child(), state(parent))  # with its parent's values it is its parent
    assert not same(child(**{key: other(name, key)}), state(parent))


@pytest.mark.parametrize(("key", "value"), [("lr", 0.001), ("weight_decay", 0.5)])
def test_rate_and_decay_act_in_flight(
    dataset: Dataset, plan: LabelPlan, tmp_path: Path, key: str, value: float
) -> None:
    before = make_spec("supervised", steps=12)
    parent = Trial(before, dataset, plan, METHODS.get("supervised"))
    parent.advance(6)
    parent.save(tmp_path / "parent.pt")
    start = {n: p.detach().clone() for n, p in parent.method.model.named_parameters()}
    child = Trial(make_spec("supervised", steps=12, **{key: value}), dataset, plan, METHODS.get("supervised"))
    child.branch(tmp_path / "parent.pt", before.key)
    parent.advance(1)
    child.advance(1)
    moved = [sum((p - start[n]).norm() for n, p in t.method.model.named_parameters()) for t in (parent, child)]
    assert moved[1] < 0.5 * moved[0] if key == "lr" else moved[1] > 1.05 * moved[0]
    if key == "weight_decay":
        assert {g["weight_decay"] for g in child.optimizer.param_groups} == {0.5, 0.0}


def test_its_seconds_are_its_own_and_a_foreign_state_is_refused(
    dataset: Dataset, plan: LabelPlan, tmp_path: Path
) -> None:
    before = make_spec("supervised", steps=12)
    parent = Trial(before, dataset, plan, METHODS.get("supervised"))
    parent.advance(6)
    parent.save(tmp_path / "parent.pt")
    child = Trial(make_spec("supervised", steps=12, lr=0.1), dataset, plan, METHODS.get("supervised"))
    with pytest.raises(UserError, match="checkpoint of trial"):
        child.branch(tmp_path / "parent.pt", child.spec.key)
    child.branch(tmp_path / "parent.pt", before.key)
    assert child.seconds == 0 and child.step == 6


def test_a_damaged_state_is_refused(dataset: Dataset, plan: LabelPlan, tmp_path: Path) -> None:
    before = make_spec("supervised", steps=12)
    parent = Trial(before, dataset, plan, METHODS.get("supervised"))
    parent.save(tmp_path / "parent.pt")
    os.link(tmp_path / "parent.pt", tmp_path / f"{before.key}@1.pt")
    content = bytearray((tmp_path / "parent.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "parent.pt").write_bytes(content)
    child = Trial(make_spec("supervised", steps=12, lr=0.1), dataset, plan, METHODS.get("supervised"))
    with pytest.raises(UserError, match="its checksum does not match"):
        child.branch(tmp_path / f"{before.key}@1.pt", before.key)


def test_a_parent_is_part_of_the_key_and_its_absence_is_not() -> None:
    spec = make_spec("supervised")
    assert spec.model_copy(update={"parent": ""}).key == spec.key
    keys = {spec.key, *(spec.model_copy(update={"parent": parent}).key for parent in ("abc@1", "abc@2"))}
    assert len(keys) == 3
