"""Importance of hyper-parameters: what matters is found, conditional ones inside their branch, words for too few."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.comparison import open_comparison
from platform.report.judge.hyper_importance import importances
from tests.report.fake_sweep import FakeSweep
from tests.report.judge.made_sweep import made_sweep


def searched(folder: Path, count: int, studies: int = 1) -> ComparedMethod:
    """The score depends on train.lr much, on gate_power (only with gate_mode b) a little, on centre_ema not at all."""
    sweep = FakeSweep(folder, studies=studies, trials=count)
    info, rows, chance = sweep.info, sweep.rows(), random.Random(0)
    info.resolved["search"] = {
        "train.lr": {"log_uniform": [0.001, 0.3]},
        "layermatch.centre_ema": {"uniform": [0.9, 0.999]},
        "layermatch.gate_mode": {"choice": ["a", "b"]},
        "layermatch.gate_power": {"int_uniform": [1, 32], "when": {"gate_mode": ["b"]}},
    }
    for row in rows:
        row.params = {
            "train.lr": 10 ** chance.uniform(-3, -0.53),
            "centre_ema": chance.uniform(0.9, 0.999),
            "gate_mode": chance.choice("ab"),
        }
        row.outcome = "completed"
        row.score = 0.9 - abs(row.params["train.lr"] - 0.01) + (0.5 if row.study.endswith("1") else 0)
        if row.params["gate_mode"] == "b":
            row.params["gate_power"] = chance.randint(1, 32)
            row.score = (row.score or 0.0) + 0.0001 * row.params["gate_power"]
    return ComparedMethod("layermatch", "layermatch", "a", rows=rows, info=info)


def test_what_matters_comes_first(tmp_path: Path):
    found = importances(searched(tmp_path, 80))
    always = [one for one in found if not one.branch]
    assert always[0].parameter == "train.lr" and always[0].share > 0.7 and always[0].trials == 80
    assert {one.parameter for one in always} == {"train.lr", "centre_ema", "gate_mode"}
    assert sum(one.share for one in always) == pytest.approx(1)


def test_a_conditional_one_is_judged_inside_its_branch(tmp_path: Path):
    method = searched(tmp_path, 80)
    (inside,) = [one for one in importances(method) if one.branch]
    branch = [row for row in method.rows if row.params["gate_mode"] == "b"]
    assert (inside.parameter, inside.branch, inside.trials) == ("gate_power", "gate_mode: b", len(branch))


def test_shares_are_optunas(tmp_path: Path):
    import optuna
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    method = searched(tmp_path, 60)
    study = optuna.create_study(direction="maximize")
    ranges = {
        "train.lr": FloatDistribution(0.001, 0.3, log=True),
        "centre_ema": FloatDistribution(0.9, 0.999),
        "gate_mode": CategoricalDistribution(["a", "b"]),
    }
    for row in method.rows:
        params = {name: row.params[name] for name in ranges}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=row.score))
    theirs = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.1)
    )
    ours = {one.parameter: one.share for one in importances(method) if not one.branch}
    assert ours == {name: pytest.approx(share) for name, share in theirs.items()}


def test_what_studies_differ_in_is_taken_away(tmp_path: Path):
    """The trials of study 1 all score higher: by raw scores the best quarter would be its trials, whatever they are."""
    found = importances(searched(tmp_path, 40, studies=2))
    assert found[0].parameter == "train.lr" and found[0].trials == 80 and found[0].share > 0.7


def test_too_few_trials_are_said(tmp_path: Path):
    method = searched(tmp_path, 19)
    assert importances(method) == (
        "layermatch: 19 completed trials with searched values; what mattered is said from 20 on."
    )
    small = open_comparison([made_sweep(tmp_path / "a", {"x": [0.9]})]).methods[0]
    assert "x: 3 completed trials" in importances(small)


def test_a_branch_of_few_trials_is_left_out(tmp_path: Path):
    assert not [one for one in importances(searched(tmp_path, 25)) if one.branch]
