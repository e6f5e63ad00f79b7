"""Spaces with conditions: the start is always legal, and nothing inactive is ever proposed, whichever sampler asks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform.core.registry import METHODS
from platform.core.row import Row
from platform.search.proposer import Proposer
from platform.sweepfile import Study, load_plain

PLUGIN = """
from typing import Literal
from torch.nn import functional as F
from methods.base import Method, Terms, hyper

class Many(Method):
    \"\"\"Parameters without meaning.\"\"\"
    class Hyper(Method.Hyper):
        c0: Literal["a", "b", "c"] = hyper("a", help="a choice")
        c1: Literal["a", "b", "c"] = hyper("b", help="a choice")
        c2: Literal["a", "b", "c"] = hyper("c", help="a choice")
        n0: float = hyper(0.5, help="a number")
        n1: float = hyper(5.0, help="a number, by default outside its range")
        n2: int = hyper(3, help="a whole number")

    def loss(self, batch):
        return Terms(labelled=F.cross_entropy(self.model(batch.labelled.weak), batch.labelled.y))
"""
NAMES = ("c0", "n0", "c1", "n1", "c2", "n2")
RANGES = {"n0": {"uniform": [0.0, 1.0]}, "n1": {"log_uniform": [0.01, 1.0]}, "n2": {"int_uniform": [1, 9]}}


@st.composite
def spaces(draw: Any) -> dict[str, Any]:
    """A parameter may depend on choices that come before it, in an order of its own."""
    names = draw(st.permutations(NAMES))
    space: dict[str, Any] = {}
    for place, name in enumerate(names):
        if name[0] == "c":
            entry: dict[str, Any] = {"choice": draw(st.permutations(["a", "b", "c"]))[: draw(st.integers(2, 3))]}
        else:
            entry = dict(RANGES[name])
        before = [other for other in names[:place] if other[0] == "c"]
        chosen = draw(st.lists(st.sampled_from(before), max_size=2, unique=True)) if before else []
        if chosen:
            entry["when"] = {c: draw(st.sampled_from(space[f"many.{c}"]["choice"])) for c in chosen}
        space[f"many.{name}"] = entry
    return {key: space[key] for key in draw(st.permutations(list(space)))}  # the file may name children first


@pytest.fixture(scope="module")
def plugin() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.py"
        path.write_text(PLUGIN)
        yield path


def study_of(plugin: Path, space: dict[str, Any], sampler: str) -> Study:
    budget = {"trials": 12, "sampler": sampler, "scheduler": "none"}
    plain = {"methods": [str(plugin)], "labels": {"per_class": 4}, "search": space, "budget": budget}
    return load_plain(plain, plugin.parent / "sweep.yaml").studies()[0]


def check(study: Study, params: dict[str, Any]) -> None:
    active = {key for key in study.space if study.is_active(key, params)}
    assert set(params) == active
    for key, value in params.items():
        assert study.space[key].range.contains(value)
    for key, value in params.items():
        for other, values in study.space[key].when:
            assert params[other] in values, (key, value)
    spec = study.resolve(params)
    assert all(spec.hyper[key] == value for key, value in params.items())


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "cmaes", "nsga2"])
@given(space=spaces())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_only_what_is_active_is_proposed(plugin: Path, sampler: str, space: dict[str, Any]) -> None:
    if sampler == "cmaes":
        space = space | {"many.n0": {"uniform": [0.0, 1.0]}}  # one number that every trial has
    study = study_of(plugin, space, sampler)
    check(study, study.start)
    proposer, known = Proposer(study, sampler, True), {}
    for number in range(12):
        asked = proposer.propose(known, lambda params: str(sorted(params.items())))
        if asked[-1].known:
            break
        params = asked[-1].params
        check(study, params)
        assert number > 0 or params == study.start
        row = Row(asked[-1].key, "many", study.id, 0, number, params, study.resolve(params))
        row.outcome, row.score = "completed", float(params.get("n0", 0.5))
        known[row.key] = row
        proposer.tell(row)


GOALS = ["clid", "ce", "ce_noisy", "mae", "ce_sloss", "mae_sloss"]
BASES = ["supervised", "mixup", "fixmatch", "flexmatch", "uda", "layermatch"]
MODES = {
    "gate_mode": ["scalar", "schedule", "sample", "class", "random", "conflict", "stages", "mirror"],
    "centre_mode": ["attract", "proto", "predictions", "rows", "teacher", "attract_rows", "proto_rows", "off"],
    "selector": ["fixed", "ramp", "flexmatch", "freematch", "softmatch"],
}
DECIDE: dict[str, dict[str, list[Any]]] = {
    "layermatch": MODES,
    "clid_mu": {"base": BASES, "meta_goal": GOALS, **{f"layermatch_{key}": values for key, values in MODES.items()}},
}
"""Hyper-parameters that decide which others act, with all their values; everything else is searched by `auto`."""


def acts(study: Study, key: str, values: dict[str, Any]) -> bool:
    conditions = study.method.cls.conditions().get(key, ())
    return all(values[other] in valid and acts(study, other, values) for other, valid in conditions)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("name", DECIDE)
def test_auto_on_everything_proposes_what_acts(name: str, sampler: str) -> None:
    search: dict[str, Any] = dict.fromkeys(METHODS.get(name).search_ranges(), "auto")
    search |= {key: {"choice": values} for key, values in DECIDE[name].items()}
    budget = {"trials": 40, "sampler": sampler, "scheduler": "none"}
    plain = {"methods": [name], "labels": {"per_class": 4}, "search": search, "budget": budget}
    study = load_plain(plain).studies()[0]
    assert set(study.space) == set(search)
    proposer, known, proposed = Proposer(study, sampler, True), {}, set()
    for number in range(40):
        params = proposer.propose(known, lambda params: str(sorted(params.items())))[-1].params
        check(study, params)
        values = study.resolve(params).hyper
        assert {key for key in search if acts(study, key, values)} == set(params)
        defaults = study.method.cls.Hyper().model_dump(mode="json")
        assert {k: values[k] for k in search if k not in params} == {k: defaults[k] for k in search if k not in params}
        proposed |= set(params)
        row = Row(str(number), name, study.id, 0, number, params, study.resolve(params))
        row.outcome, row.score = "completed", float(number % 7)
        known[row.key] = row
        proposer.tell(row)
    assert len(proposed) > len(study.start)
