"""kurabe.load: a sweep's ledger as tidy data frames, and what is said where there is none."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import kurabe
from platform.core.events import TrialStarted
from platform.core.ledger import Ledger
from platform.core.row import winner
from tests.report.fake_sweep import FakeSweep
from tests.report.judge.made_sweep import made_sweep


def stored(folder: Path, **options: object) -> FakeSweep:
    """A fake sweep whose ledger lies in `folder`."""
    folder.mkdir(parents=True)
    sweep = FakeSweep(folder, **options)
    ledger = Ledger(folder, sweep.info.resolved)
    sweep.run(ledger)
    ledger.close()
    return sweep


def test_trials_have_their_numbers_outcomes_values_and_winners(tmp_path: Path) -> None:
    sweep = stored(tmp_path / "digits", methods=["fixmatch", "layermatch"], studies=2)
    rows = sweep.run()
    trials = kurabe.load(sweep.folder).trials
    assert len(trials) == len(rows) == 24
    byplace = trials.set_index(["study", "trial"])
    for row in rows:
        found = byplace.loc[(row.study, row.number)]
        assert (found.key, found.method, found.outcome, found.steps) == (row.key, row.method, row.outcome, row.steps)
        assert found.score == row.score or (np.isnan(found.score) and row.score is None)
        assert found["hp.train.lr"] == row.params["train.lr"] and found.study_index == int(row.study[-1])
    best = [winner([row for row in rows if row.study == study], True) for study in sweep.info.studies]
    assert set(trials[trials.winner].key) == {row.key for row in best if row} and trials.winner.sum() == 4
    assert trials.score.dtype == trials.test_accuracy.dtype == float and trials.winner.dtype == bool


def test_curves_have_a_row_per_evaluation_that_joins_the_trials(tmp_path: Path) -> None:
    sweep = stored(tmp_path / "digits", studies=2)
    results = kurabe.load(str(sweep.folder))
    rows = sweep.run()
    assert len(results.curves) == sum(len(row.reports) for row in rows)
    joined = results.curves.merge(results.trials, on=["study", "trial", "repeat", "key", "winner"])
    assert len(joined) == len(results.curves)
    last = results.curves.groupby(["study", "trial"])["score"].last()
    scored = results.trials.dropna(subset="score").set_index(["study", "trial"])["score"]
    assert last.loc[scored.index].tolist() == scored.tolist()
    assert results.curves.step.dtype == int and "loss/labelled" in results.curves


def test_repeats_are_told_from_the_search_and_never_win(tmp_path: Path) -> None:
    folder = made_sweep(tmp_path / "a", {"supervised": [0.8]}, repeats={"supervised": [[0.99, 0.98]]})
    trials = kurabe.load(folder).trials
    assert trials.repeat.tolist() == [0, 0, 0, 1, 2] and trials.winner.tolist() == [False, False, True, False, False]


def test_several_folders_are_told_apart(tmp_path: Path) -> None:
    folders = [made_sweep(tmp_path / name, {"supervised": [0.8, 0.9]}) for name in ("a", "b")]
    results = kurabe.load(*folders)
    assert results.trials.groupby("sweep").size().to_dict() == {"a": 6, "b": 6}
    assert results.folders == folders and "a: 6 trials, 2 winners" in repr(results)
    with pytest.raises(kurabe.UserError, match="which of these sweeps\\? sweep=NAME: a, b"):
        results.one()
    assert results.one("b").info.name == "b"


def test_no_trial_completed(tmp_path: Path) -> None:
    results = kurabe.load(made_sweep(tmp_path / "a", {"supervised": [None]}))
    assert not results.trials.winner.any() and results.trials.score.isna().all()
    with pytest.raises(kurabe.UserError, match="no study has a winner"):
        _ = results.predictions


def test_an_unfinished_sweep_gives_what_it_has_and_says_how_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    folder.mkdir()
    sweep = FakeSweep(folder, trials=2)
    ledger = Ledger(folder, sweep.info.resolved)
    row = sweep.rows()[0]
    ledger.handle(TrialStarted(row))
    sweep.report(row, sweep.reports(row)[0], ledger)
    ledger.close()
    with pytest.warns(UserWarning, match="1 of its 1 trials are unfinished.*To go on: kurabe sweep") as caught:
        results = kurabe.load(folder)
    assert caught[0].filename == __file__  # the line that called kurabe.load
    assert results.trials.outcome.tolist() == ["running"] and len(results.curves) == 1


def test_a_finished_sweep_warns_of_nothing(tmp_path: Path) -> None:
    folder = made_sweep(tmp_path / "a", {"supervised": [0.8]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kurabe.load(folder)


def test_a_wrong_folder_is_answered_with_the_place_and_the_right_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made_sweep(tmp_path / "results" / "benchmark", {"supervised": [0.8]})
    made_sweep(tmp_path / "results" / "other", {"supervised": [0.8]})

    def said(*folders: str) -> str:
        with pytest.raises(kurabe.UserError) as raised:
            kurabe.load(*folders)
        return str(raised.value)

    assert f"no such folder ({tmp_path / 'benchmark'})" in said("benchmark")
    assert "did you mean: results/benchmark" in said("benchmark")
    assert "did you mean: results/benchmark" in said("results/bnchmark")
    assert "sweeps in results: results/benchmark, results/other" in said("results")
    assert "results/x" in said("results/x", "results/y") and "results/y" in said("results/x", "results/y")
    assert 'kurabe.load("results/NAME")' in said()
    assert "python -m platform" not in said("nowhere")


def test_what_compare_refuses_names_arguments_and_commands_of_kurabe(tmp_path: Path) -> None:
    folders = [made_sweep(tmp_path / "a", {"supervised": [0.8]}), made_sweep(tmp_path / "b", {"elr": [0.9]}, trials=4)]
    with pytest.raises(kurabe.UserError, match="allow_unequal=True") as raised:
        kurabe.compare(*folders)
    assert "--allow-unequal" not in str(raised.value)
    assert kurabe.compare(*folders, allow_unequal=True).comparison.unequal


def test_a_comparison_is_the_judges_with_its_tables(tmp_path: Path) -> None:
    folder = made_sweep(tmp_path / "a", {"supervised": [0.80, 0.82, 0.81], "fixmatch": [0.90, 0.93, 0.92]})
    judged = kurabe.compare(kurabe.load(folder))
    assert kurabe.verdict(judged).startswith("fixmatch beats supervised by 0.107")
    board = kurabe.leaderboard(judged)
    assert board.method.tolist() == ["fixmatch", "supervised"]
    assert board["mean"].tolist() == [place.mean.value for place in judged.places]
    assert "seeds: 0, 1, 2" in board.attrs["conditions"]
    (pair,) = kurabe.differences(judged).to_dict("records")
    assert (pair["a"], pair["b"], pair["difference"]) == (
        "fixmatch",
        "supervised",
        judged.differences[0].estimate.value,
    )
