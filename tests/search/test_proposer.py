"""The search through Optuna: it learns from what it is told, and is told the truth."""

import optuna
import pytest
from optuna.trial import TrialState

from methods.ranges import (
    choice,
    int_log_uniform,
    int_uniform,
    log_uniform,
    quantised_int_uniform,
    quantised_uniform,
    uniform,
)
from platform.core.row import Row
from platform.search.proposer import Proposer, suggest
from tests.runner.sweeps import driver, load, play, play_all, quality

RANGES = [
    uniform(0.1, 0.9),
    log_uniform(1e-5, 1e-1),
    int_uniform(1, 7),
    int_log_uniform(1, 1000),
    quantised_uniform(0.0, 1.0, 0.1),
    quantised_int_uniform(8, 64, 8),
    choice(16, 32, "a", True, None, 0.5),
]


@pytest.mark.parametrize("range_", RANGES, ids=str)
def test_what_is_drawn_is_in_the_range_and_of_its_type(range_):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [suggest(study.ask(), "x", range_) for _ in range(60)]
    assert all(range_.contains(value) for value in drawn)
    assert len(set(map(str, drawn))) > 3


def test_every_evaluation_and_the_true_end_reach_optuna(tmp_path):
    book = driver(tmp_path, load(tmp_path))
    rows = [book.next_row() for _ in range(8)][::2]  # of the first study
    play(book, rows[0], [0.1, 0.2, 0.3, 0.4])
    play(book, rows[1], [0.1, 0.15], None)
    play(book, rows[2], [0.1, float("nan")], "diverged")
    book.ended(rows[3].key, "failed", "boom")
    trials = book.studies["supervised/0"].queue.proposer._optuna.trials[:4]
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL]
    assert trials[0].value == 0.4 and trials[0].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    assert trials[1].intermediate_values == {1: 0.1, 2: 0.15}  # stopped at its second evaluation, and known to be


@pytest.mark.slow
def test_tpe_does_better_than_random_on_the_same_budget(tmp_path):
    means = {}
    for sampler in ("tpe", "random"):
        late = []
        for seed in range(4):
            folder = tmp_path / f"{sampler}{seed}"
            folder.mkdir()
            sweep = load(folder, *_budget(40, sampler, seed))
            rows = [r for r in play_all(driver(folder, sweep)) if r.number >= 25]
            late += [quality(r) for r in rows]
        means[sampler] = sum(late) / len(late)
    assert means["tpe"] > means["random"]


def _budget(trials: int, sampler: str, seed: int) -> tuple[str, ...]:
    from tests.runner.sweeps import SPACE

    return SPACE, "methods=[supervised]", f"budget.trials={trials}", f"budget.sampler={sampler}", f"seed={seed}"


def test_the_same_history_gives_the_same_proposal(tmp_path):
    sweep = load(tmp_path)
    study = sweep.studies()[0]

    def fifth() -> dict:
        proposer = Proposer(study, "tpe", True)
        for number in range(5):
            params = proposer.propose({}, lambda params: str(params))[-1].params
            spec = study.resolve(params)
            row = Row(str(params), "supervised", study.id, 0, number, params, spec)
            row.outcome, row.score = "completed", params["model_ema"]
            proposer.tell(row)
        return proposer.propose({}, str)[-1].params

    assert fifth() == fifth()


def test_conditional_parameters_are_drawn_only_where_they_are_active(tmp_path):
    text = """
name: conditional
methods: [layermatch]
labels: {per_class: 4}
train: {steps: 20}
search:
  centre_mode: {choice: [attract, proto, "off"]}
  centre_temperature: {log_uniform: [0.05, 0.5], when: {centre_mode: proto}}
  centre_ema: {uniform: [0.9, 0.999], when: {centre_mode: [attract, proto]}}
budget: {trials: 25}
tracking: none
"""
    book = driver(tmp_path, load(tmp_path, text))
    seen = set()
    while (row := book.next_row()) is not None:
        mode = row.params["centre_mode"]
        seen.add(mode)
        assert ("centre_temperature" in row.params) == (mode == "proto")
        assert ("centre_ema" in row.params) == (mode != "off")
        play(book, row, [0.1, 0.2])
    assert seen == {"attract", "proto", "off"}
