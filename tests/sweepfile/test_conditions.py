"""Hyper-parameters that act only at some values of others, by what their method declares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from platform.sweepfile import Sweep, load

Make = Callable[..., Sweep]
Problems = Callable[..., list[str]]

LAYERMATCH = "methods: [layermatch]\nlabels: {per_class: 4}\n"
CATALOG = "        (python -m platform.catalog layermatch)"


class TestSearched:
    def test_auto_takes_the_declared_condition(self, sweep: Make) -> None:
        study = sweep(LAYERMATCH, "search={centre_mode: auto, centre_temperature: auto}").studies()[0]
        assert study.space["centre_temperature"].when == (("centre_mode", ("proto", "proto_rows")),)
        assert "centre_temperature" not in study.start

    def test_a_plain_range_takes_it_too(self, sweep: Make) -> None:
        search = "search={centre_mode: {choice: [attract, proto]}, centre_temperature: {uniform: [0.1, 0.2]}}"
        assert sweep(LAYERMATCH, search).studies()[0].space["centre_temperature"].when == (("centre_mode", ("proto",)),)

    def test_together_with_what_the_file_writes(self, sweep: Make) -> None:
        weight = "centre_weight: {uniform: [0.1, 1], when: {centre_mode: [proto, rows], view_agreement: true}}"
        modes = "centre_mode: {choice: [attract, proto, rows]}, view_agreement: auto"
        study = sweep(LAYERMATCH, f"search={{{modes}, {weight}}}").studies()[0]
        assert study.space["centre_weight"].when == (("centre_mode", ("proto",)), ("view_agreement", (True,)))

    def test_a_condition_that_always_holds_is_none(self, sweep: Make) -> None:
        study = sweep(LAYERMATCH, "search={centre_mode: {choice: [attract, proto]}, centre_ema: auto}").studies()[0]
        assert study.space["centre_ema"].when == ()

    def test_it_may_hold_only_where_what_it_is_on_is_searched(self, sweep: Make) -> None:
        search = "search={gate_mode: {choice: [scalar, sample]}, gate_sample: {choice: [power]}, gate_power: auto}"
        study = sweep(LAYERMATCH, search).studies()[0]
        assert study.space["gate_power"].when == (("gate_mode", ("sample",)),)

    def test_what_is_neither_searched_nor_fixed_has_its_default(self, sweep: Make) -> None:
        study = sweep(LAYERMATCH, "search={gate_mode: {choice: [scalar, sample]}, gate_threshold: auto}").studies()[0]
        assert study.space["gate_threshold"].when == (("gate_mode", ("sample",)),)  # gate_sample: threshold by default
        assert sweep(LAYERMATCH, "search={gate: auto}").studies()[0].space["gate"].when == ()

    def test_on_a_fixed_one_it_is_decided(self, sweep: Make) -> None:
        study = sweep(LAYERMATCH, "fixed.centre_mode=proto", "search={centre_temperature: auto}").studies()[0]
        assert study.space["centre_temperature"].when == ()

    def test_what_the_file_itself_excludes_is_a_note(self, sweep: Make) -> None:
        temperature = "centre_temperature: {uniform: [0.1, 1], when: {centre_mode: proto}}"
        study = sweep(
            LAYERMATCH, "fixed.centre_mode=attract", f"search={{{temperature}, uratio: auto}}", "budget.trials=4"
        ).studies()[0]
        assert list(study.space) == ["uratio"]
        assert study.notes == ("centre_temperature is not searched: centre_mode is 'attract'",)


NEVER = [
    # (override, what excludes it, what would make it act)
    ("search.centre_temperature=auto", "centre_mode is 'attract' (its default)", "centre_mode is proto or proto_rows"),
    ("fixed.centre_temperature=0.2", "centre_mode is 'attract' (its default)", "centre_mode is proto or proto_rows"),
    ("fixed.centre_temperature=0.1", "centre_mode is 'attract' (its default)", "centre_mode is proto or proto_rows"),
    ("search.gate_time=auto", "gate_mode is 'random' (sweep.yaml:3)", "gate_mode is schedule"),
    (
        "search.gate_power=auto",
        "gate_mode is 'random' (sweep.yaml:3), gate_sample is 'threshold' (its default)",
        "gate_mode is sample and gate_sample is power",
    ),
    (
        "fixed.layermatch.n_sigma=1",
        "selector is drawn from choice ['fixed', 'flexmatch'] (sweep.yaml:4)",
        "selector is softmatch",
    ),
]


@pytest.mark.parametrize(("override", "why", "where"), NEVER, ids=[case[0] for case in NEVER])
def test_what_can_never_act_is_a_problem(problems: Problems, override: str, why: str, where: str) -> None:
    text = LAYERMATCH + "fixed: {gate_mode: random}\nsearch: {selector: {choice: [fixed, flexmatch]}}\n"
    key = override.partition("=")[0]
    assert problems(text, override) == [
        f"command line: {override}: {key}: can never act in this sweep: {why}\n    it acts where {where}{CATALOG}"
    ]


@pytest.mark.parametrize(
    ("settings", "key", "why"),
    [
        ({"meta_goal": "ce", "temperature": 0.3}, "temperature", "meta_goal is 'ce' (command line: "),
        ({"meta_model": "vri", "normalise": "sum"}, "normalise", "meta_model is 'vri' (command line: "),
        ({"reselect_epochs": 2}, "reselect_epochs", "meta_goal is 'clid' (its default)"),
        ({"mixup_alpha": 2}, "mixup_alpha", "base is 'supervised' (its default)"),
    ],
)
def test_of_clid_mu(problems: Problems, settings: dict[str, object], key: str, why: str) -> None:
    found = problems("methods: [clid_mu]\n", *(f"fixed.{name}={value}" for name, value in settings.items()))
    assert len(found) == 1
    assert f"fixed.{key}: can never act in this sweep: {why}" in found[0]


def test_lines_of_both_are_named(problems: Problems) -> None:
    text = LAYERMATCH + "fixed:\n  centre_mode: rows\nsearch:\n  centre_ema: auto\n"
    assert problems(text) == [
        "sweep.yaml:6: search.centre_ema: can never act in this sweep: centre_mode is 'rows' (sweep.yaml:4)\n"
        f"    it acts where centre_mode is attract or proto or attract_rows or proto_rows{CATALOG}"
    ]


def test_conditions_that_exclude_each_other(problems: Problems) -> None:
    gate = "gate_time: {uniform: [0, 1], when: {gate_mode: scalar}}"
    found = problems(LAYERMATCH, f"search={{gate_mode: {{choice: [scalar, schedule]}}, {gate}}}")
    assert len(found) == 1
    assert "search.gate_time: can never act in this sweep: gate_mode has no value that all conditions allow" in found[0]


def test_a_circle_through_a_declared_condition(problems: Problems) -> None:
    mode = "gate_mode: {choice: [scalar, sample], when: {gate: 0.1}}"
    found = problems(LAYERMATCH, f"search={{{mode}, gate: {{choice: [0, 0.1]}}}}")
    assert len(found) == 1
    assert "search.gate_mode.when: conditions in a circle: gate_mode -> gate -> gate_mode" in found[0]


def test_a_value_that_was_not_read_excludes_nothing(problems: Problems) -> None:
    found = problems(LAYERMATCH, "fixed.centre_mode=prot", "search.centre_temperature=auto")
    assert len(found) == 1
    assert "fixed.centre_mode: 'prot' is not one of" in found[0]


class TestSeveralMethods:
    TEXT = "methods: [fixmatch, layermatch]\nlabels: {per_class: 4}\nfixed: {layermatch.selector: softmatch}\n"

    def test_a_common_key_is_left_out_where_it_cannot_act(self, sweep: Make, tmp_path: Path) -> None:
        found = sweep(self.TEXT, "search={threshold: {uniform: [0.7, 0.9]}, uratio: auto}", "budget.trials=4")
        fixmatch, layermatch = found.studies()
        assert list(fixmatch.space) == ["threshold", "uratio"]
        assert list(layermatch.space) == ["uratio"]
        assert layermatch.notes == ("threshold is not searched, it cannot act: selector is 'softmatch'",)
        written = tmp_path / "resolved.yaml"
        written.write_text(found.to_yaml())
        assert load(written) == found

    def test_a_common_fixed_value_is_left_at_its_default(self, sweep: Make) -> None:
        fixmatch, layermatch = sweep(self.TEXT, "fixed.threshold=0.8").studies()
        assert (fixmatch.resolve({}).hyper["threshold"], layermatch.resolve({}).hyper["threshold"]) == (0.8, 0.95)
        assert "threshold is left at its default, it cannot act: selector is 'softmatch'" in layermatch.notes

    def test_where_it_acts_in_none_it_is_a_problem(self, problems: Problems) -> None:
        text = self.TEXT.replace("fixmatch, ", "supervised, ")
        assert len(problems(text, "search.threshold=auto")) == 1
        both = "methods: [clid_mu, layermatch]\nfixed: {clid_mu.meta_goal: ce, layermatch.selector: fixed}\n"
        assert "can never act" in problems(both, "search.clid_mu.temperature=auto")[0]

    def test_a_key_of_one_method_is_a_problem(self, problems: Problems) -> None:
        found = problems(self.TEXT, "search={threshold: auto, layermatch.threshold: auto}")
        assert len(found) == 1
        assert "search.layermatch.threshold: can never act in this sweep: selector is 'softmatch'" in found[0]

    def test_nothing_is_said_where_a_method_did_not_load(self, problems: Problems) -> None:
        found = problems(self.TEXT.replace("fixmatch", "fixmach"), "search.threshold=auto")
        assert len(found) == 1
        assert "no such method: 'fixmach'" in found[0]


class TestTrials:
    def test_what_does_not_act_has_its_default(self, sweep: Make) -> None:
        study = sweep(LAYERMATCH, "search={gate_mode: {choice: [scalar, random]}}", "fixed.gate_keep=0.2").studies()[0]
        assert study.resolve({"gate_mode": "random"}).hyper["gate_keep"] == 0.2
        assert study.resolve({"gate_mode": "scalar"}).hyper["gate_keep"] == 0.5

    def test_trials_that_differ_in_nothing_that_acts_have_one_key(self, sweep: Make) -> None:
        search = "search={gate_mode: {choice: [scalar, random]}}"
        one, other = (sweep(LAYERMATCH, search, *more).studies()[0] for more in ((), ("fixed.gate_keep=0.2",)))
        assert one.resolve({"gate_mode": "scalar"}).key == other.resolve({"gate_mode": "scalar"}).key
        assert one.resolve({"gate_mode": "random"}).key != other.resolve({"gate_mode": "random"}).key

    def test_a_value_that_a_method_refuses_where_it_acts_is_no_problem_where_it_does_not(self, sweep: Make) -> None:
        goals = "search={meta_goal: {choice: [clid, ce_sloss]}}"
        study = sweep("methods: [clid_mu]\nlabels: {per_class: 4}\n", goals, "fixed.meta_source=unlabelled").studies()[
            0
        ]
        assert study.resolve({"meta_goal": "clid"}).hyper["meta_source"] == "unlabelled"
        assert study.resolve({"meta_goal": "ce_sloss"}).hyper["meta_source"] == "auto"
