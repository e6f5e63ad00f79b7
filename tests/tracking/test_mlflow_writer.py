"""The listener against a real sqlite store, driven as the runner drives it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from platform.core.errors import UserError
from platform.core.events import SweepEnded, SweepStarted, TrialEnded
from platform.core.uri import absolute
from platform.report.judge.sweep_headlines import headlines
from platform.report.results_folder import ResultsListener
from platform.tracking import delivery, mlflow_writer
from platform.tracking.mlflow_writer import MlflowListener
from platform.tracking.run_content import Closing
from platform.tracking.study_content import StudyContent
from tests.report.fake_sweep import FakeSweep

pytestmark = pytest.mark.slow

CURVES = {
    "noisy_val_accuracy": "val/noisy_val_accuracy",
    "score": "val/score",
    "test_accuracy": "test/test_accuracy",
}
"""Names in the ledger and in MLflow."""


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(absolute(uri))  # MLflow keeps one store per URI, also when the current folder changes


def runs(uri: str, experiment: str) -> list[Any]:
    c = client(uri)
    return c.search_runs([c.get_experiment_by_name(experiment).experiment_id], max_results=1000)


def trials(uri: str, experiment: str) -> dict[str, Any]:
    """By key; a key with two runs fails here."""
    found = [run for run in runs(uri, experiment) if "kurabe.trial_key" in run.data.tags]
    assert max(Counter(run.data.tags["kurabe.trial_key"] for run in found).values()) == 1
    return {run.data.tags["kurabe.trial_key"]: run for run in found}


def prepared(uri: str, sweep: FakeSweep) -> MlflowListener:
    tracker = MlflowListener(uri, sweep.folder)
    tracker.prepare()
    return tracker


def test_a_sweep_in_mlflow(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)  # of somebody else's run
    sweep = FakeSweep(Path("results/digits"), methods=["layermatch", "fixmatch"])
    said: list[str] = []
    tracker = MlflowListener(uri, sweep.folder, said.append)
    tracker.prepare()
    rows = sweep.run(ResultsListener(sweep.folder), tracker)
    assert said == []
    found = trials(uri, "digits")
    assert set(found) == {row.key for row in rows}
    parents = {r.info.run_id: r for r in runs(uri, "digits") if r.data.tags["kurabe.kind"] == "study"}
    assert sorted(r.info.run_name for r in parents.values()) == ["fixmatch/0", "layermatch/0"]
    status = {"completed": "FINISHED", "pruned": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
    for row in rows:
        run = found[row.key]
        assert run.info.run_name == f"{row.study} trial {row.number}"
        assert run.info.status == status[row.outcome or ""]
        assert run.data.tags["kurabe.outcome"] == row.outcome
        assert run.data.tags["kurabe.seed"] == str(row.seed)
        assert parents[run.data.tags["mlflow.parentRunId"]].info.run_name == row.study
        assert run.data.params["centre_ema"] == str(row.params["centre_ema"])
        assert run.data.params["train.optimizer"] == "sgd"
        assert run.data.params["labels.per_class"] == "4"
        assert run.data.metrics.get("score") == (row.score if row.outcome == "completed" else None)
        assert run.data.metrics.get("test_accuracy") == (row.test_accuracy if row.outcome == "completed" else None)
        for name, key in CURVES.items():
            history = client(uri).get_metric_history(run.info.run_id, key)
            assert [(m.step, m.value) for m in history] == [(r["step"], r[name]) for r in row.reports]
    failed = next(row for row in rows if row.outcome == "failed")
    assert "no class has a confident" in found[failed.key].data.tags["mlflow.note.content"]
    for run_id in parents:
        names = {a.path for a in client(uri).list_artifacts(run_id)}
        assert names == {"sweep.yaml", "provenance.json", "leaderboard.md", "trials.csv", "figures"}
        assert parents[run_id].data.metrics["score"] > 0.8


def test_a_continued_sweep_reopens_its_runs(uri: str) -> None:
    """Killed in the middle: the second session continues one trial, repeats a report of it, and runs the rest."""
    sweep = FakeSweep(Path("results/digits"), trials=4, outcomes=("completed",))
    rows = sweep.rows()
    first = MlflowListener(uri, sweep.folder)
    first.handle(SweepStarted(sweep.info))
    for row in rows[:2]:
        sweep.start(row, first)
    for report in sweep.reports(rows[0]):
        sweep.report(rows[0], report, first)
    for report in sweep.reports(rows[1])[:3]:
        sweep.report(rows[1], report, first)
    first.close()  # no trial_ended, no sweep_ended
    assert {run.info.status for run in trials(uri, "digits").values()} == {"RUNNING"}

    sweep.end(rows[0])  # known to the ledger only
    second = MlflowListener(uri, sweep.folder)
    second.handle(SweepStarted(sweep.info))
    sweep.start(rows[1], second)
    rows[1].reports.pop()
    for report in sweep.reports(rows[1])[2:]:
        sweep.report(rows[1], report, second)
    sweep.end(rows[1], second)
    for row in rows[2:]:
        sweep.start(row, second)
        for report in sweep.reports(row):
            sweep.report(row, report, second)
        sweep.end(row, second)
    second.handle(SweepEnded(rows))

    found = trials(uri, "digits")
    assert set(found) == {row.key for row in rows}
    for row in rows:
        assert found[row.key].info.status == "FINISHED"
        history = client(uri).get_metric_history(found[row.key].info.run_id, "test/test_accuracy")
        assert [m.step for m in history] == [120, 240, 360, 480, 600]
    assert len([r for r in runs(uri, "digits") if r.data.tags["kurabe.kind"] == "study"]) == 1


def test_rows_of_earlier_sessions_are_made_good(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow was off, or lost its database: the table at the end brings what is missing, once."""
    monkeypatch.setattr(delivery, "PAGE_RUNS", 3)  # of seven
    sweep = FakeSweep(Path("results/digits"), trials=6)
    rows = sweep.run()
    for _ in range(2):
        tracker = MlflowListener(uri, sweep.folder)
        tracker.handle(SweepStarted(sweep.info))
        tracker.handle(SweepEnded(rows))
        found = trials(uri, "digits")
        assert {k: r.data.tags["kurabe.outcome"] for k, r in found.items()} == {r.key: r.outcome for r in rows}
        for row in rows:
            history = client(uri).get_metric_history(found[row.key].info.run_id, "test/test_accuracy")
            assert len(history) == len(row.reports)


def test_a_trial_without_a_result_is_not_among_the_results(uri: str) -> None:
    """The view of trials has those that were stopped early at its end, without a score; failed ones in another view."""
    sweep = FakeSweep(Path("results/digits"))
    rows = sweep.run(prepared(uri, sweep))
    experiment = client(uri).get_experiment_by_name("digits")

    def shown(view: str) -> list[str]:
        state = json.loads(json.loads(experiment.tags[f"mlflow.sharedViewState.{view}"])["state"])
        order = [f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"]
        found = client(uri).search_runs([experiment.experiment_id], state["searchFilter"], order_by=order)
        return [run.data.tags.get("kurabe.trial_key", run.info.run_name) for run in found]

    scores = {row.key: row.score for row in rows if row.outcome == "completed"}
    pruned = {row.key for row in rows if row.outcome == "pruned"}
    best = sorted(scores, key=lambda key: -(scores[key] or 0))
    assert pruned and shown("trials")[: len(scores)] == best
    assert set(shown("trials")[len(scores) :]) == pruned
    assert shown("winners") == best[:1] and shown("methods") == ["layermatch/0"]
    assert sorted(shown("failed")) == sorted(row.key for row in rows if row.score is None)
    assert {row.outcome for row in rows if row.score is None} == {"failed", "diverged"}
    assert "viewStateShareKey=methods&" in experiment.tags["mlflow.note.content"]


def test_an_unknown_version_gets_no_views_and_everything_else(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=2, outcomes=("completed",))
    tracker = prepared(uri, sweep)
    tracker._version = "4.0.0"
    rows = sweep.run(tracker)
    tags = client(uri).get_experiment_by_name("digits").tags
    assert not any("sharedViewState" in key for key in tags)
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "viewStateShareKey" not in tags["mlflow.note.content"] + "".join(tracker.links())
    assert set(trials(uri, "digits")) == {row.key for row in rows}


def test_methods_have_their_numbers_while_the_sweep_runs(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_writer, "JUDGE_SECONDS", 0.0)
    sweep = FakeSweep(Path("results/digits"), ["supervised", "fixmatch"], trials=2, outcomes=("completed",))
    tracker = MlflowListener(uri, sweep.folder, judge=headlines)
    tracker.prepare()
    tracker.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for row in (rows[0], rows[2]):
        sweep.start(row, tracker)
        for report in sweep.reports(row):
            sweep.report(row, report, tracker)
        sweep.end(row, tracker)

    def numbers() -> dict[str, dict[str, float]]:
        if client(uri).get_experiment_by_name("digits") is None:
            return {}
        found = [run for run in runs(uri, "digits") if run.data.tags["kurabe.kind"] == "study"]
        assert {run.info.status for run in found} <= {"RUNNING"}
        return {run.info.run_name: run.data.metrics for run in found}

    end = time.monotonic() + 60
    while sum("difference" in metrics for metrics in numbers().values()) < 2:
        assert time.monotonic() < end
        time.sleep(0.2)
    for row in (rows[0], rows[2]):
        assert numbers()[row.study]["score"] == round(row.score or 0, 4)  # as the leaderboard shows it
        assert numbers()[row.study]["cost"] == round(row.spent, 1)
    gap = (rows[2].test_accuracy or 0) - (rows[0].test_accuracy or 0)
    assert numbers()["fixmatch/0"]["difference"] == pytest.approx(gap, abs=1e-4)
    assert trials(uri, "digits")[rows[2].key].data.tags["kurabe.winner"] == "yes"
    note = client(uri).get_experiment_by_name("digits").tags["mlflow.note.content"]
    assert "| method |" in note and "platform.compare" in note
    tracker.close()


def test_another_winner_makes_the_study_s_run_anew(uri: str) -> None:
    """Parameters and curves of the first one cannot be taken back; the trials stay, as children of the new run."""
    sweep = FakeSweep(Path("results/digits"), trials=4, outcomes=("completed",))
    rows = sweep.run(prepared(uri, sweep))
    best, second = sorted(rows, key=lambda row: -(row.score or 0))[:2]
    (before,) = (run for run in runs(uri, "digits") if run.data.tags["kurabe.kind"] == "study")
    assert before.data.params["winner"] == f"trial {best.number}"
    assert before.data.params["train.lr"] == str(best.params["train.lr"])
    assert trials(uri, "digits")[best.key].data.tags["kurabe.winner"] == "yes"
    second.score = second.reports[-1]["score"] = 0.999
    for _ in range(2):
        tracker = prepared(uri, sweep)
        tracker.handle(SweepStarted(sweep.info, rows))
        tracker.handle(SweepEnded(rows))
        (after,) = (run for run in runs(uri, "digits") if run.data.tags["kurabe.kind"] == "study")
        assert after.info.run_id != before.info.run_id
        assert after.data.params["winner"] == f"trial {second.number}" and after.data.metrics["score"] == 0.999
        assert {r.data.tags["mlflow.parentRunId"] for r in trials(uri, "digits").values()} == {after.info.run_id}
        won = {key for key, run in trials(uri, "digits").items() if run.data.tags["kurabe.winner"] == "yes"}
        assert won == {second.key}
        history = client(uri).get_metric_history(after.info.run_id, "val/score")
        assert [m.step for m in history] == [120, 240, 360, 480, 600]


def test_images_and_labels_are_data_sets_with_their_hashes(uri: str) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=1)
    spec = sweep.rows()[0].spec.model_copy(update={"data_hash": "d" * 64, "labels_hash": "e" * 64})
    row = replace(sweep.rows()[0], spec=spec)
    tracker = prepared(uri, sweep)
    tracker.handle(SweepStarted(sweep.info))
    sweep.start(row, tracker)
    for report in sweep.reports(row):
        sweep.report(row, report, tracker)
    sweep.end(row, tracker)
    tracker.handle(SweepEnded([row]))
    for run in runs(uri, "digits"):
        used = {(one.dataset.name, json.loads(one.dataset.profile)["hash"]) for one in run.inputs.dataset_inputs}
        assert used == {("digits images", "d" * 64), ("labels of study 0", "e" * 64)}


def test_evaluations_that_the_ledger_lost_and_mlflow_has_are_not_there_twice(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's line of the trial's start was damaged: the trial sends all its evaluations again."""
    sweep = FakeSweep(Path("results/digits"), trials=1, outcomes=("completed",))
    (row,) = sweep.rows()
    first = MlflowListener(uri, sweep.folder)
    first.handle(SweepStarted(sweep.info))
    sweep.start(row, first)
    reports = sweep.reports(row)
    for report in reports[:2]:
        sweep.report(row, report, first)
    first.close()

    row.reports.clear()
    delivered: list[str] = []
    deliver = delivery.Delivery.deliver

    def noted(self: delivery.Delivery, content: Any) -> None:
        deliver(self, content)
        delivered.append(content.key)

    monkeypatch.setattr(delivery.Delivery, "deliver", noted)
    second = MlflowListener(uri, sweep.folder)
    second.handle(SweepStarted(sweep.info))
    sweep.start(row, second)
    while not any(row.key in key for key in delivered):  # its start, before it has sent an evaluation
        time.sleep(0.01)
    for report in reports:
        sweep.report(row, report, second)
    sweep.end(row, second)
    second.handle(SweepEnded([row]))
    history = client(uri).get_metric_history(trials(uri, "digits")[row.key].info.run_id, "system/seconds")
    assert [point.step for point in history] == [report["step"] for report in reports]


def test_a_trial_that_is_tried_again(uri: str) -> None:
    """It goes on in its run, from the start; an evaluation that the first attempt came to is not doubled."""
    sweep = FakeSweep(Path("results/digits"), trials=1)
    row = sweep.rows()[0]
    tracker = MlflowListener(uri, sweep.folder)
    tracker.handle(SweepStarted(sweep.info))
    sweep.start(row, tracker)
    for report in sweep.reports(row)[:2]:
        sweep.report(row, report, tracker)
    row.outcome, row.error = "failed", "the worker was lost"
    tracker.handle(TrialEnded(row))
    while len(tracker._undelivered):
        time.sleep(0.05)
    assert trials(uri, "digits")[row.key].info.status == "FAILED"
    row.earlier, row.reports, row.steps, row.seconds, row.outcome, row.error = row.spent, [], 0, 0.0, None, ""
    sweep.start(row, tracker)
    while len(tracker._undelivered):
        time.sleep(0.05)
    run = trials(uri, "digits")[row.key]
    assert run.info.status == "RUNNING" and run.data.tags["kurabe.outcome"] == "running"
    for report in sweep.reports(row):
        sweep.report(row, report, tracker)
    sweep.end(row, tracker)
    tracker.handle(SweepEnded([row]))
    run = trials(uri, "digits")[row.key]
    assert run.info.status == "FINISHED" and run.data.metrics["score"] == row.score
    history = client(uri).get_metric_history(run.info.run_id, "val/score")
    assert [m.step for m in history] == [120, 240, 360, 480, 600]


def test_a_run_that_somebody_deleted_is_made_anew_when_the_sweep_ends(uri: str) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=2, outcomes=("completed",))
    said: list[str] = []
    tracker = MlflowListener(uri, sweep.folder, said.append)
    tracker.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for row in rows:
        sweep.start(row, tracker)
        sweep.report(row, sweep.reports(row)[0], tracker)
    while len(tracker._undelivered):
        time.sleep(0.05)
    client(uri).delete_run(trials(uri, "digits")[rows[0].key].info.run_id)
    for row in rows:
        for report in sweep.reports(row)[1:]:
            sweep.report(row, report, tracker)
        sweep.end(row, tracker)
    tracker.handle(SweepEnded(rows))
    assert len(said) == 1 and rows[0].key in said[0]
    found = trials(uri, "digits")
    assert set(found) == {row.key for row in rows}
    for row in rows:
        history = client(uri).get_metric_history(found[row.key].info.run_id, "system/seconds")
        assert [m.step for m in history] == [120, 240, 360, 480, 600]


def test_away_then_back(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors that pass: nothing is lost, nothing is doubled, and it is said once."""
    monkeypatch.setattr(mlflow_writer, "wait_seconds", lambda failures: 0.01)
    monkeypatch.setattr(mlflow_writer, "FLUSH_SECONDS", 0.01)
    real, calls = delivery.Delivery._send, Counter()

    def unreliable(self: Any, *arguments: Any) -> None:
        calls["all"] += 1
        if calls["all"] in (2, 3, 7):
            real(self, *arguments) if calls["all"] == 7 else None  # at 7 the answer gets lost, not the request
            raise ConnectionError("connection refused")
        real(self, *arguments)

    monkeypatch.setattr(delivery.Delivery, "_send", unreliable)
    sweep = FakeSweep(Path("results/digits"))
    said: list[str] = []
    rows = sweep.run(MlflowListener(uri, sweep.folder, said.append))
    assert set(trials(uri, "digits")) == {row.key for row in rows}
    for row in rows:
        history = client(uri).get_metric_history(trials(uri, "digits")[row.key].info.run_id, "system/seconds")
        assert len(history) == len(row.reports)
    assert sum("does not take entries" in line for line in said) == sum("answers again" in line for line in said) <= 2


def test_an_answer_that_got_lost_does_not_make_a_second_run(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_writer, "wait_seconds", lambda failures: 0.01)
    real, calls = delivery.Delivery._create, Counter()

    def unreliable(self: Any, content: Any) -> Any:
        state = real(self, content)
        calls[content.key] += 1
        if calls[content.key] == 1 and len(calls) in (1, 3):  # a study, a trial
            raise ConnectionError("connection reset by peer")
        return state

    monkeypatch.setattr(delivery.Delivery, "_create", unreliable)
    sweep = FakeSweep(Path("results/digits"), trials=3)
    rows = sweep.run(MlflowListener(uri, sweep.folder))
    assert len(calls) == 4 and set(calls.values()) == {1}
    assert set(trials(uri, "digits")) == {row.key for row in rows}
    (study,) = (run for run in runs(uri, "digits") if run.data.tags["kurabe.kind"] == "study")
    assert {r.data.tags["mlflow.parentRunId"] for r in trials(uri, "digits").values()} == {study.info.run_id}


def test_what_stays_away_is_kept_and_delivered_by_the_next_session(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_writer, "GIVE_UP_SECONDS", 0.1)
    monkeypatch.setattr(mlflow_writer, "wait_seconds", lambda failures: 0.01)
    sweep = FakeSweep(Path("results/digits"))
    said: list[str] = []
    with monkeypatch.context() as away:

        def refuse(self: Any) -> Any:
            raise ConnectionError("postgresql://me:hunter2@db is away")

        away.setattr(delivery.Delivery, "client", property(refuse))
        rows = sweep.run(MlflowListener(uri, sweep.folder, said.append))
    assert "hunter2" not in "".join(said)
    assert said[-1].startswith("7 runs in MLflow") and str(sweep.folder) in said[-1]
    said.clear()
    back = MlflowListener(uri, sweep.folder, said.append)
    back.handle(SweepStarted(sweep.info, rows))
    back.close()
    assert {k: r.data.tags["kurabe.outcome"] for k, r in trials(uri, "digits").items()} == {
        row.key: row.outcome for row in rows
    }
    assert said == []


def test_a_locked_database_passes(uri: str) -> None:
    from mlflow.exceptions import MlflowException

    assert delivery.passes(MlflowException("(sqlite3.OperationalError) database is locked"))
    assert delivery.passes(sqlite3.OperationalError("x")) is False  # MLflow never lets this one through bare
    assert not delivery.passes(MlflowException.invalid_parameter_value("a metric's name"))


class Refused(StudyContent):
    def closing(self) -> Closing:
        return Closing("FINISHED", 1, {}, [("a//../b", 1.0, 1, 1)], proof={})


def test_what_mlflow_refuses_is_said_and_the_rest_goes_on(uri: str) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=2)
    said: list[str] = []
    tracker = MlflowListener(uri, sweep.folder, said.append)
    tracker.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    tracker._undelivered.note_study(Refused(sweep.info, "unheard-of"))
    for row in rows:
        sweep.start(row, tracker)
        sweep.end(row, tracker)
    tracker.handle(SweepEnded(rows))
    assert any("unheard-of" in line for line in said)
    assert set(trials(uri, "digits")) == {row.key for row in rows}


@pytest.mark.parametrize("bad", ["./mlruns", "file:///tmp/mlruns", "mlruns", "sqlite://", "gopher://x"])
def test_a_uri_that_mlflow_does_not_take(bad: str) -> None:
    with pytest.raises(UserError, match="sqlite:///"):
        MlflowListener(bad, "results/x")


def test_a_server_that_does_not_answer_is_said_once_and_what_it_misses_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_writer, "GIVE_UP_SECONDS", 0.1)
    monkeypatch.setattr(mlflow_writer, "wait_seconds", lambda failures: 0.01)
    sweep = FakeSweep(tmp_path / "digits", trials=2)
    said: list[str] = []
    tracker = MlflowListener("http://me:hunter2@127.0.0.1:9", sweep.folder, said.append)
    tracker.prepare(timeout=2)
    sweep.run(tracker)
    assert "login" in said[0] and "MLFLOW_TRACKING_PASSWORD" in said[0]
    assert "does not take entries (no answer" in said[1] and "delivered later" in said[1]
    assert said[2].startswith("3 runs in MLflow") and len(said) == 3
    assert "hunter2" not in "".join(said)


def test_a_folder_without_permission(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        MlflowListener(f"sqlite:///{tmp_path}/file/mlflow.db", tmp_path).prepare()
