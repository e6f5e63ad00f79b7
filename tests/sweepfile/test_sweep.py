"""Studies, seeds, spaces and trials of a checked sweep; what is written out loads again."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from methods.ranges import Range
from platform.core.code_hash import code_hash
from platform.core.errors import Problem, UserError
from platform.core.registry import METHODS
from platform.core.spec import AXES, TrialSpec, derive_seed
from platform.sweepfile import Study, Sweep, load, load_plain
from platform.sweepfile.space import TRAIN_RANGES, is_active

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "search_spaces").rglob("*.yaml"))
NAMES = ["supervised", "pseudo_label", "mixup", "fixmatch", "layermatch", "clid_mu"]

Make = Callable[..., Sweep]

GOOD = """
methods: [layermatch]
data: {source: digits}
labels: {per_class: 4}
train: {steps: 20, lr: 0.02}
search:
  centre_ema: {uniform: [0.9, 0.98]}
  centre_mode: {choice: [attract, proto, off]}
  centre_weight: {log_uniform: [0.01, 2], when: {centre_mode: [attract, proto]}}
  centre_temperature: {log_uniform: [0.05, 0.5], when: {centre_mode: proto}}
  train.lr: {log_uniform: [1e-3, 0.3]}
"""


def draw(range_: Range, chance: random.Random) -> Any:
    """Any value of a range, its ends often."""
    if range_.kind == "choice":
        return chance.choice(range_.arguments)
    part = chance.choice([0.0, 1.0, chance.random()])
    value: Any = range_.nearest(range_.low + part * (range_.high - range_.low))
    return int(value) if range_.integer else value


def point(study: Study, chance: random.Random) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for key, entry in study.space.items():
        if study.is_active(key, params):
            params[key] = draw(entry.range, chance)
    return params


class TestStudies:
    def test_trial_0_is_the_defaults(self, sweep: Make) -> None:
        study = sweep(GOOD).studies()[0]
        assert study.start == {"centre_ema": 0.98, "centre_mode": "attract", "centre_weight": 0.5, "train.lr": 0.02}
        assert study.notes == ("centre_ema starts at 0.98: its default 0.99 is outside uniform [0.9, 0.98]",)
        spec = study.resolve(study.start)
        assert spec.hyper == {**spec.hyper, "centre_ema": 0.98, "centre_temperature": 0.1, "uratio": 7}
        assert (spec.train.lr, spec.train.steps) == (0.02, 20)

    def test_seeds_are_paired_across_methods(self, sweep: Make) -> None:
        found = sweep(GOOD, "methods=[layermatch, fixmatch]", "budget.studies=2", "seed=5", "seeds.noise=3").studies()
        assert [study.id for study in found] == ["layermatch/0", "fixmatch/0", "layermatch/1", "fixmatch/1"]
        assert [study.seed for study in found] == [5, 5, 6, 6]
        assert found[0].seeds == found[1].seeds
        own = {axis: derive_seed(6, axis) for axis in AXES}
        assert found[2].seeds == own | {"noise": 3, "data": derive_seed(5, "data")}
        assert all(found[0].seeds[axis] != found[2].seeds[axis] for axis in AXES if axis not in ("noise", "data"))

    def test_nothing_searched_is_one_trial_per_study(self, sweep: Make) -> None:
        found = sweep(GOOD, "search={}", "budget={trials: 7, studies: 5}").studies()
        assert [study.trials for study in found] == [1] * 5
        assert found[0].start == {}
        assert len({study.resolve({}).key for study in found}) == 5

    def test_a_small_space_has_no_more_trials_than_points(self, sweep: Make) -> None:
        study = sweep(
            GOOD, "search={uratio: {quantised_int_uniform: [1, 7, 3]}, gate: auto}", "budget.trials=40"
        ).studies()[0]
        assert study.trials == 3 * 4

    def test_conditional_parameters(self, sweep: Make) -> None:
        study = sweep(GOOD).studies()[0]
        assert not study.is_active("centre_weight", {"centre_mode": "off"})
        assert study.is_active("centre_weight", {"centre_mode": "proto"})
        spec = study.resolve({"centre_mode": "off", "centre_weight": 1.5})
        assert spec.hyper["centre_weight"] == 0.5  # not active: the default
        assert study.resolve({"centre_mode": "proto", "centre_weight": 1.5}).hyper["centre_weight"] == 1.5
        assert spec.key == study.resolve({"centre_mode": "off"}).key

    def test_parents_come_first(self, sweep: Make) -> None:
        text = GOOD.replace("  centre_ema", "  gate: {choice: [0, 1], when: {centre_temperature: [0.1]}}\n  centre_ema")
        text = text.replace("centre_temperature: {log_uniform: [0.05, 0.5]", "centre_temperature: {choice: [0.1, 0.2]")
        study = sweep(text).studies()[0]
        order = list(study.space)
        assert order.index("centre_mode") < order.index("centre_temperature") < order.index("gate")
        proto = {"centre_mode": "proto", "centre_temperature": 0.1}
        assert study.is_active("gate", proto)
        assert not study.is_active("gate", {**proto, "centre_mode": "attract"})  # its condition is not active itself

    def test_conditions_on_fixed_parameters_are_decided_at_once(self, sweep: Make) -> None:
        text = GOOD.replace("  centre_mode: {choice: [attract, proto, off]}\n", "") + "fixed: {centre_mode: attract}\n"
        study = sweep(text).studies()[0]
        assert list(study.space) == ["centre_ema", "centre_weight", "train.lr"]
        assert study.space["centre_weight"].when == ()
        assert "centre_temperature is not searched: centre_mode is 'attract'" in study.notes

    def test_what_hangs_on_a_dropped_parameter_is_dropped(self, sweep: Make) -> None:
        study = sweep(
            GOOD,
            "fixed.centre_mode=off",
            "budget.trials=4",
            "search={centre_temperature: {choice: [0.1], when: {centre_mode: proto}}, "
            "gate: {choice: [0, 1], when: {centre_temperature: 0.1}}, uratio: auto}",
        ).studies()[0]
        assert list(study.space) == ["uratio"]
        assert len(study.notes) == 2

    def test_the_more_specific_key_wins(self, sweep: Make) -> None:
        found = sweep(
            "methods: [fixmatch, pseudo_label, mixup]",
            "search={threshold: {uniform: [0.7, 0.8]}, fixmatch.threshold: {uniform: [0.8, 0.9]}, alpha: auto}",
            "fixed={uratio: 2, fixmatch.uratio: 3, pseudo_label.threshold: 0.75}",
        )
        spaces = {study.method.name: study.space for study in found.studies()}
        assert spaces["fixmatch"]["threshold"].range == Range("uniform", (0.8, 0.9))
        assert list(spaces["pseudo_label"]) == []
        assert list(spaces["mixup"]) == ["alpha"]
        fixed = {study.method.name: study.base.hyper for study in found.studies()}
        assert (fixed["fixmatch"]["uratio"], fixed["pseudo_label"]["uratio"]) == (3, 2)
        assert fixed["pseudo_label"]["threshold"] == 0.75

    def test_the_code_of_its_method_is_in_the_key(self, sweep: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        study = sweep(GOOD).studies()[0]
        assert study.base.code == code_hash(METHODS.get("layermatch"))
        monkeypatch.setattr("platform.core.spec.TRAINING_VERSION", 10**6)
        assert sweep(GOOD).studies()[0].resolve({}).key != study.resolve({}).key

    def test_fixed_training_settings(self, sweep: Make) -> None:
        study = sweep(GOOD, "fixed.train.momentum=0.5").studies()[0]
        assert study.resolve({}).train.momentum == 0.5

    def test_values_take_the_type_of_their_field(self, sweep: Make) -> None:
        study = sweep(
            GOOD, "search={gate: {choice: [0, 1]}, uratio: {int_uniform: [1, 3]}}", "fixed.threshold=1"
        ).studies()[0]
        assert [type(a) for a in study.space["gate"].range.arguments] == [float, float]
        assert type(study.fixed["threshold"]) is float
        assert study.start == {"gate": 0.0, "uratio": 3}

    def test_auto_is_what_the_method_declares(self, sweep: Make) -> None:
        study = sweep(GOOD, "search={gate: auto, train.lr: auto}").studies()[0]
        assert study.space["gate"].range == METHODS.get("layermatch").search_ranges()["gate"]
        assert study.space["train.lr"].range == TRAIN_RANGES["lr"]

    def test_unknown_parameters_are_refused(self, sweep: Make) -> None:
        with pytest.raises(KeyError, match="not searched"):
            sweep(GOOD).studies()[0].resolve({"uratio": 3})

    def test_hashes_go_into_the_key(self, sweep: Make) -> None:
        study = sweep(GOOD).studies()[0]
        keys = {study.resolve({}, *hashes).key for hashes in ((), ("a",), ("a", "b"))}
        assert len(keys) == 3


class TestPlugins:
    def test_by_path_beside_the_sweep_file(self, sweep: Make, plugin: Path) -> None:
        found = sweep("methods: [mine.py]\nsearch: {mode: auto, mine.strength: auto}\nfixed: {depth: 3}")
        entry = found.methods[0]
        assert (entry.name, entry.plugin_source) == ("mine", plugin.read_text())
        study = found.studies()[0]
        assert study.id == "mine/0"
        assert study.resolve({"mode": "fancy"}).hyper == {
            "model_ema": None,  # left to the trial
            "mode": "fancy",
            "depth": 3,
            "strength": 0.5,
        }

    def test_resolved_from_another_folder(self, sweep: Make, plugin: Path, tmp_path: Path) -> None:
        found = sweep("methods: [mine.py]\nsearch: {mode: auto}")
        elsewhere = tmp_path / "results" / "sweep.yaml"
        elsewhere.parent.mkdir()
        elsewhere.write_text(found.to_yaml())
        assert load(elsewhere) == found


def test_problems_found_later_get_their_line(sweep: Make) -> None:
    found = sweep(GOOD, "data.limit=5")
    with pytest.raises(UserError) as caught, found.locate():
        raise UserError(
            Problem("more than there are", "labels.per_class"),
            Problem("too small", "data.limit"),
            Problem("none", "labels.total"),
            Problem("no key"),
        )
    wheres = [problem.where.rpartition("/")[2] for problem in caught.value.problems]
    assert wheres == ["sweep.yaml:4", "command line: data.limit=5", "sweep.yaml:4", ""]


def test_the_name_of_a_file_without_one(sweep: Make) -> None:
    assert sweep("methods: mixup").name == "sweep"


def test_empty_sections_are_empty(sweep: Make) -> None:
    assert sweep("methods: [mixup]\nsearch:\ntrain:\nfixed:\n").given["mixup"].space == {}


def test_importing_costs_no_torch() -> None:
    code = (
        "import platform.sweepfile, sys; sys.exit(any(m in sys.modules for m in ('torch', 'ray', 'mlflow', 'optuna')))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": ""}, check=True)


# -- what is written out loads again -----------------------------------------------------------------------------------


@st.composite
def ranges(chosen: st.DrawFn, declared: Range) -> Any:
    """`auto`, the declared range, or a part of it."""
    if declared.kind == "choice":
        some = chosen(st.lists(st.sampled_from(declared.arguments), min_size=1, unique=True))
        return chosen(st.sampled_from(["auto", {"choice": some}]))
    low, high = declared.low, declared.high
    if not declared.integer:
        ends = sorted(low + (high - low) * chosen(st.floats(0, 1)) for _ in range(2))
        low, high = ends if ends[0] < ends[1] else (low, high)
    return chosen(st.sampled_from(["auto", {declared.kind: [low, high]}]))


def can_act(key: str, search: dict[str, Any], fixed: dict[str, Any]) -> bool:
    """Whether the declared conditions of METHOD.KEY, and of what they are on, leave it a value at which it acts."""
    name, _, hyper = key.partition(".")
    if name == "train":
        return True
    cls = METHODS.get(name)
    for other, values in cls.conditions().get(hyper, ()):
        written = search.get(f"{name}.{other}")
        drawn = cls.search_ranges()[other].arguments if written == "auto" else (written or {}).get("choice", ())
        at = [fixed.get(f"{name}.{other}", cls.Hyper.model_fields[other].default)] if written is None else drawn
        if not can_act(f"{name}.{other}", search, fixed) or not set(at) & set(values):
            return False
    return True


@st.composite
def sweeps(chosen: st.DrawFn) -> dict[str, Any]:
    """Sweep files that are right, as plain data."""
    names = chosen(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    search: dict[str, Any] = {}
    for name in names:
        for key, declared in METHODS.get(name).search_ranges().items():
            if chosen(st.booleans()):
                search[f"{name}.{key}"] = chosen(ranges(declared))
    for key, declared in TRAIN_RANGES.items():
        if chosen(st.booleans()):
            search[f"train.{key}"] = chosen(ranges(declared))
    noise = chosen(st.sampled_from([{}, {"noise": "symmetric", "rate": 0.4}, {"noise": "column:on"}]))
    fixed = {} if "layermatch" not in names else {"layermatch.selector": "fixed"}
    search = {key: value for key, value in search.items() if key not in fixed}
    search = {key: value for key, value in search.items() if can_act(key, search, fixed)}
    return {
        "name": chosen(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")),
        "methods": names,
        "labels": {"per_class": chosen(st.none() | st.integers(1, 9)), **noise},
        "train": {"steps": chosen(st.integers(1, 10**7)), "lr": chosen(st.floats(1e-300, 10)), "amp": "on"},
        "seed": chosen(st.integers(0, 2**40)),
        "seeds": chosen(st.dictionaries(st.sampled_from(AXES), st.integers(0, 2**40))),
        "search": search,
        "fixed": fixed,
        "budget": {"trials": chosen(st.integers(1, 100)), "studies": chosen(st.integers(1, 3))},
        "resources": {
            "gpu": chosen(st.sampled_from(["auto", 0, 0.5])),
            "concurrent": chosen(st.sampled_from(["auto", 3])),
        },
    }


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=sweeps())
def test_a_resolved_file_loads_to_an_equal_sweep(data: dict[str, Any], tmp_path: Path) -> None:
    found = load_plain(data, tmp_path / "a.yaml")
    written = tmp_path / "resolved.yaml"
    written.write_text(found.to_yaml())
    again = load(written)
    assert again == found
    assert again.resolved() == found.resolved()
    assert [s.resolve(s.start).key for s in again.studies()] == [s.resolve(s.start).key for s in found.studies()]


@settings(max_examples=25, deadline=None)
@given(data=sweeps(), seed=st.integers(0, 2**32))
def test_every_point_of_a_space_resolves(data: dict[str, Any], seed: int) -> None:
    chance = random.Random(seed)
    for study in load_plain(data).studies():
        check_point(study, point(study, chance))
        check_point(study, study.start)


def check_point(study: Study, params: dict[str, Any]) -> None:
    assert all(study.space[key].range.contains(value) for key, value in params.items())
    assert all(is_active(study.space, key, params) for key in params)
    spec = study.resolve(params)
    values = {**spec.hyper, **{f"train.{k}": v for k, v in spec.train.model_dump().items()}}
    assert {key: values[key] for key in params} == params
    assert set(spec.hyper) == set(study.method.cls.Hyper.model_fields)
    assert TrialSpec.model_validate_json(spec.model_dump_json()).key == spec.key


@pytest.mark.parametrize("path", SHIPPED)
def test_every_point_of_a_shipped_search_space_resolves(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    chance = random.Random(0)
    sweep = load(path)
    # all_methods.yaml says `search: {}`, layer_ablation.yaml names one method: defaults, on purpose
    named = {key.partition(".")[0] for key in yaml.safe_load(Path(path).read_text())["search"]}
    for study in sweep.studies():
        on_purpose = named <= {entry.name for entry in sweep.methods} - {study.method.name}
        assert bool(study.space) != on_purpose, f"{study.id} searches nothing"
        for _ in range(20):
            check_point(study, point(study, chance))


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_search_spaces_start_at_the_defaults(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    notes = [note for study in load(path).studies() for note in study.notes]
    assert [note for note in notes if not note.startswith("nothing is searched")] == []


@pytest.mark.parametrize("path", SHIPPED)
def test_shipped_search_spaces_open_with_their_command(path: str) -> None:
    lines = (ROOT / path).read_text().splitlines()
    depth = "../" * (Path(path).parts.index(Path(path).name) - 1)
    assert lines[0] == f"# python -m platform.sweep {path}"
    assert lines[1] == f"# yaml-language-server: $schema={depth}schema.json"
