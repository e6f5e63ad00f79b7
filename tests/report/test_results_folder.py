"""results/NAME as people and programs find it."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

import platform.report
from platform.core.events import SweepEnded, SweepStarted
from platform.core.row import Row, winner
from platform.report import trial_tables
from platform.report.judge.estimate import mean_estimate
from platform.report.leaderboard import leaderboard, retrain
from platform.report.provenance import provenance
from platform.report.results_folder import ResultsListener
from platform.report.standings import with_n
from tests.report.fake_sweep import TRACEBACK, FakeSweep


@pytest.fixture(autouse=True)
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds; tests/report/test_figures.py does it."""
    monkeypatch.setattr(ResultsListener, "_draw", lambda self, rows: None)


def run(folder: Path, **options: object) -> tuple[FakeSweep, list[Row]]:
    sweep = FakeSweep(folder, **options)  # type: ignore[arg-type]
    return sweep, sweep.run(ResultsListener(folder))


def test_trials_csv_has_exactly_these_columns_and_every_trial(tmp_path: Path) -> None:
    _, rows = run(tmp_path / "digits", methods=["fixmatch", "layermatch"], studies=2)
    with (tmp_path / "digits" / "trials.csv").open() as file:
        reader = csv.DictReader(file)
        records = list(reader)
    head = "key method study seed outcome steps seconds score test_accuracy".split()
    head += "accumulate reason repeat parent".split()
    assert reader.fieldnames == [*head, "hp.centre_ema", "hp.train.lr", "hp.train.batch_size"]
    assert [(r["key"], r["study"], r["outcome"]) for r in records] == [(r.key, r.study, r.outcome) for r in rows]
    for record, row in zip(records, rows, strict=True):
        assert record["score"] == ("" if row.score is None else repr(row.score))
        assert float(record["hp.train.lr"]) == row.params["train.lr"]


def test_load_gives_both_tables(tmp_path: Path) -> None:
    _, rows = run(tmp_path / "digits")
    tables = platform.report.load(tmp_path / "digits")
    assert list(tables.trials["key"]) == [row.key for row in rows]
    assert tables.trials["score"].isna().sum() == sum(row.score is None for row in rows)
    assert list(tables.curves.columns[:10]) == list(trial_tables.CURVE_COLUMNS)
    assert {"loss/labelled", "diag/utilisation"} <= set(tables.curves.columns)
    for row in rows:
        curve = tables.curves[tables.curves["key"] == row.key]
        assert list(curve["step"]) == [report["step"] for report in row.reports]
        np.testing.assert_array_equal(curve["val_clid"], [report["val_clid"] for report in row.reports])


def test_a_key_that_looks_like_a_number_stays_a_word(tmp_path: Path) -> None:
    row = FakeSweep(tmp_path).row("fixmatch", 0, 0)
    row.key = "001234567890"
    trial_tables.write_trials(tmp_path / "trials.csv", [trial_tables.trial_record(row)])
    assert platform.report.load(tmp_path).trials["key"][0] == "001234567890"


def test_a_rerun_that_adds_trials_keeps_the_others_at_every_moment(tmp_path: Path) -> None:
    _, before = run(tmp_path / "digits", trials=3)
    sweep = FakeSweep(tmp_path / "digits", trials=5)
    listener = ResultsListener(sweep.folder)
    listener.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for row in rows[3:]:
        sweep.start(row, listener)
        for report in sweep.reports(row):
            sweep.report(row, report, listener)
        sweep.end(row, listener)
        assert set(platform.report.load(sweep.folder).trials["key"]) >= {r.key for r in before} | {rows[3].key}
    listener.handle(SweepEnded([*before, *rows[3:]]))
    tables = platform.report.load(sweep.folder)
    assert list(tables.trials["key"]) == [row.key for row in rows]
    assert set(tables.curves["key"]) == {row.key for row in rows}


def test_errors_and_their_end(tmp_path: Path) -> None:
    sweep, rows = run(tmp_path / "digits")
    failed = [row for row in rows if row.outcome == "failed"]
    assert [f.stem for f in (sweep.folder / "errors").iterdir()] == [row.key for row in failed]
    assert (sweep.folder / "errors" / f"{failed[0].key}.txt").read_text() == TRACEBACK
    failed[0].outcome, failed[0].error = "completed", ""  # retried, and well
    listener = ResultsListener(sweep.folder)
    listener.handle(SweepStarted(sweep.info))
    listener.handle(SweepEnded(rows))
    assert list((sweep.folder / "errors").iterdir()) == []


def test_secrets_stay_out_of_the_files(tmp_path: Path) -> None:
    uri = "postgresql://me:hunter2@db/mlflow"
    sweep, _ = run(tmp_path / "digits", tracking=uri, command=f"python -m platform.sweep x.yaml tracking={uri}")
    for path in sweep.folder.rglob("*.*"):
        assert b"hunter2" not in path.read_bytes(), path
    assert yaml.safe_load((sweep.folder / "sweep.yaml").read_text())["tracking"] == "postgresql://me@db/mlflow"
    assert json.loads((sweep.folder / "provenance.json").read_text())["data_sha256"] == "d" * 64


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")

    def torn(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        trial_tables.replace(tmp_path / "a.csv", torn)
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a.csv", "old")]


def test_a_full_disk_during_the_sweep_does_not_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sweep = FakeSweep(tmp_path / "digits")
    listener = ResultsListener(sweep.folder)
    listener.handle(SweepStarted(sweep.info))
    row = sweep.rows()[0]
    with monkeypatch.context() as disk:
        disk.setattr(trial_tables, "write_trials", full)
        sweep.end(row, listener)
    listener.handle(SweepEnded([row]))
    assert list(platform.report.load(sweep.folder).trials["key"]) == [row.key]


def test_the_winner_is_a_completed_trial_and_the_test_set_has_no_say(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path)
    rows = [sweep.row("fixmatch", 0, number) for number in range(4)]
    for row, outcome, score, test in zip(
        rows, ("completed", "pruned", "completed", "completed"), (0.8, 0.9, 0.8, math.nan), (0.1, 1, 1, 1), strict=True
    ):
        row.outcome, row.score, row.test_accuracy = outcome, score, test  # type: ignore[assignment]
    assert winner(rows, maximise=True) is rows[0]
    rows[2].score = 0.7
    assert winner(rows, maximise=False) is rows[2]
    assert winner(rows[1:2], maximise=True) is None


def test_the_interval_is_students() -> None:
    values = [0.91, 0.93, 0.92, 0.95]
    found = mean_estimate(values)
    assert found is not None and found.low is not None
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert found.value - found.low == pytest.approx(half)
    assert "no interval" in with_n(mean_estimate([0.9]))
    assert mean_estimate([]) is None


def test_the_leaderboard_says_who_won_and_how_that_came_about(tmp_path: Path) -> None:
    sweep, rows = run(tmp_path / "digits", methods=["fixmatch", "layermatch", "hopeless"], studies=3)
    for row in rows:
        if row.method == "hopeless":
            row.outcome, row.score = "diverged", None
    text = leaderboard(sweep.info, rows)
    proof = [sweep.command, "3 x 6 trials of at most 600 steps", "noisy_val_accuracy", "seeds 0, 1, 2", "per_class=4"]
    proof += ["noise=none", "torch 2.15.0", "2 cores", "d" * 16, "0123456789ab"]
    assert [needed for needed in proof if needed not in text] == []
    assert "| hopeless | no completed trial |" in text
    best = winner([row for row in rows if row.study == "fixmatch/1"], True)
    assert best is not None and f"| fixmatch/1 | `{best.key}` | {best.score:.4f} |" in text
    scores = [winner([r for r in rows if r.study == f"fixmatch/{i}"], True).score for i in range(3)]  # type: ignore[union-attr]
    assert f"| fixmatch | {with_n(mean_estimate(scores, accuracy=True))} |" in text  # type: ignore[arg-type]


def test_the_command_that_trains_the_winner_again_is_one_a_sweep_takes(tmp_path: Path) -> None:
    import shlex

    from platform import sweepfile

    space = tmp_path / "space.yaml"
    space.write_text(
        "methods: [supervised]\nlabels: {per_class: 4}\nsearch:\n"
        "  model_ema: {uniform: [0.9, 0.999]}\n  train.lr: {log_uniform: [1e-3, 0.3]}\n"
    )
    sweep = FakeSweep(tmp_path / "digits", command=f"python -m platform.sweep {space} --smoke")
    row = sweep.row("supervised", 0, 0)
    row.params = {"model_ema": 0.9123456789012345, "train.lr": 1e-05}
    words = shlex.split(retrain(sweep.info, row))
    assert words[-1] == "--smoke"
    loaded = sweepfile.load(str(space), words[4:-1])
    study = next(iter(loaded.studies()))
    spec = study.resolve({})
    assert spec.hyper["model_ema"] == 0.9123456789012345 and spec.train.lr == 1e-05
    assert loaded.name == "digits-winner" and loaded.budget.trials == 1
    other = sweep.row("supervised", 2, 0)
    words = shlex.split(retrain(replace(sweep.info, resolved=sweep.info.resolved | {"seed": 5}), other))
    assert "seed=7" in words and f"seeds.data={other.spec.seeds['data']}" in words


def test_the_command_leaves_out_a_fixed_value_that_did_not_act(tmp_path: Path) -> None:
    import shlex

    from platform import sweepfile

    space = tmp_path / "space.yaml"
    space.write_text(
        "methods: [layermatch]\nlabels: {per_class: 4}\nfixed: {gate_keep: 0.2, uratio: 3}\n"
        "search: {gate_mode: {choice: [scalar, random]}}\n"
    )
    sweep = FakeSweep(tmp_path / "digits", command=f"python -m platform.sweep {space}")
    loaded = sweepfile.load(space)
    info = replace(sweep.info, resolved=loaded.resolved())
    for mode in ("scalar", "random"):
        row, study = sweep.row("layermatch", 0, 0), loaded.studies()[0]
        row.params, row.spec = {"gate_mode": mode}, study.resolve({"gate_mode": mode})
        again = sweepfile.load(space, shlex.split(retrain(info, row))[4:]).studies()[0]
        assert again.resolve({}).key == row.spec.key


def test_provenance_of_this_machine() -> None:
    found = provenance()
    assert found["versions"]["python"].startswith("3.") and "torch" in found["versions"]
    assert found["hardware"]["cores"] >= 1
    assert json.dumps(found)


def test_provenance_outside_a_repository(tmp_path: Path) -> None:
    assert provenance(tmp_path)["git"] == {"commit": None, "branch": None, "dirty": None}


def test_a_sweep_that_a_signal_ended_has_its_tables_and_draws_nothing(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "results" / "digits")
    sweep.run(ResultsListener(sweep.folder, hurried=lambda: True))
    assert (sweep.folder / "trials.csv").exists() and (sweep.folder / "leaderboard.md").exists()
    assert not (sweep.folder / "figures").exists() and not (sweep.folder / "report.html").exists()
