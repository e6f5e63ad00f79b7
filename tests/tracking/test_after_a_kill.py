"""What the ledger has and MLflow has not, because the driver died between the two, arrives with the next run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from platform.core.events import SweepEnded, SweepStarted
from platform.tracking.delivery import Delivery, LogBatch, RunState
from platform.tracking.mlflow_writer import MlflowListener
from tests.report.fake_sweep import FakeSweep
from tests.tracking.test_mlflow_writer import client, runs, trials

pytestmark = pytest.mark.slow

STEPS = [120, 240, 360, 480, 600]


def steps(uri: str, run_id: str) -> list[int]:
    return sorted(metric.step for metric in client(uri).get_metric_history(run_id, "system/seconds"))


def test_an_end_that_only_the_ledger_heard_of(uri: str) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=2, outcomes=("completed",))
    rows = sweep.rows()
    first = MlflowListener(uri, sweep.folder)
    first.handle(SweepStarted(sweep.info))
    for row in rows:
        sweep.start(row, first)
    for report in sweep.reports(rows[0])[:2]:
        sweep.report(rows[0], report, first)
    first.close()  # the rest of both rows goes to the ledger alone
    for report in sweep.reports(rows[0])[2:]:
        sweep.report(rows[0], report)
    for report in sweep.reports(rows[1]):
        sweep.report(rows[1], report)
    for row in rows:
        sweep.end(row)
    for _ in range(2):  # and the run after that changes nothing
        again = MlflowListener(uri, sweep.folder)
        again.handle(SweepStarted(sweep.info))
        again.handle(SweepEnded(rows))
        found = trials(uri, "digits")
        assert {run.info.status for run in found.values()} == {"FINISHED"}
        for row in rows:
            assert steps(uri, found[row.key].info.run_id) == STEPS
            assert found[row.key].data.metrics["score"] == row.score


def test_evaluations_that_only_the_ledger_heard_of(uri: str) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=1)
    row = sweep.rows()[0]
    first = MlflowListener(uri, sweep.folder)
    first.handle(SweepStarted(sweep.info))
    sweep.start(row, first)
    sweep.report(row, sweep.reports(row)[0], first)
    first.close()
    for report in sweep.reports(row)[1:3]:  # the driver dies with these in its memory
        sweep.report(row, report)
    second = MlflowListener(uri, sweep.folder)
    second.handle(SweepStarted(sweep.info))
    sweep.start(row, second)
    for report in sweep.reports(row)[3:]:
        sweep.report(row, report, second)
    sweep.end(row, second)
    second.handle(SweepEnded([row]))
    assert steps(uri, trials(uri, "digits")[row.key].info.run_id) == STEPS


def test_a_status_that_a_kill_kept_back_after_the_outcome(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tags come before the status: the next run of the command closes what was left running, and changes no more."""
    sweep = FakeSweep(Path("results/digits"))
    first = MlflowListener(uri, sweep.folder)
    rows = sweep.run(first)
    before = trials(uri, "digits")
    left = {row.key for row in rows[:4]}
    for key in left:
        client(uri).update_run(before[key].info.run_id, status="RUNNING")

    def send(self: Delivery, run: RunState, batch: LogBatch) -> None:
        assert run.tags["kurabe.kind"] == "study", "a trial that is complete was written again"
        real(self, run, batch)

    real = Delivery._send
    monkeypatch.setattr(Delivery, "_send", send)
    said: list[str] = []
    second = MlflowListener(uri, sweep.folder, said.append)
    second.handle(SweepStarted(sweep.info, rows))
    second.close()  # nothing was left to run
    after = trials(uri, "digits")
    assert said == []
    assert {k: run.info.status for k, run in after.items()} == {k: run.info.status for k, run in before.items()}
    for key in before.keys() - left:
        assert after[key].info.end_time == before[key].info.end_time


def test_a_row_that_a_killed_driver_left_and_nobody_took_up_again(uri: str) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=2)
    rows = sweep.rows()
    first = MlflowListener(uri, sweep.folder)
    first.handle(SweepStarted(sweep.info))
    sweep.start(rows[0], first)
    sweep.report(rows[0], sweep.reports(rows[0])[0], first)
    first.close()
    sweep.report(rows[0], sweep.reports(rows[0])[1])  # the driver dies
    second = MlflowListener(uri, sweep.folder)
    second.handle(SweepStarted(sweep.info, rows[:1]))
    second.handle(SweepEnded([]))  # interrupted before anything ran
    run = trials(uri, "digits")[rows[0].key]
    assert run.info.status == "KILLED" and run.data.tags["kurabe.outcome"] == "preempted"
    assert steps(uri, run.info.run_id) == STEPS[:2]


def test_a_sweep_begun_anew_has_an_experiment_of_its_own_and_the_old_one_is_set_aside(uri: str) -> None:
    sweep = FakeSweep(Path("results/digits"), trials=2, outcomes=("completed",))

    def run(id: str) -> None:
        tracker = MlflowListener(uri, sweep.folder)
        tracker.handle(SweepStarted(replace(sweep.info, id=id)))
        rows = sweep.rows()
        for row in rows:
            sweep.start(row, tracker)
            for report in sweep.reports(row):
                sweep.report(row, report, tracker)
            sweep.end(row, tracker)
        tracker.handle(SweepEnded(rows))

    run("")  # by a version whose ledgers had no id
    old = {r.info.run_id for r in runs(uri, "digits")}
    run("a" * 12)
    assert {r.info.run_id for r in runs(uri, "digits.1")} == old
    first = {r.info.run_id for r in runs(uri, "digits")}
    assert not first & old and len(trials(uri, "digits")) == 2
    run("b" * 12)
    assert {r.info.run_id for r in runs(uri, "digits.2")} == first
    run("a" * 12)  # continued, from a folder that was set aside: it goes on where its runs are
    assert {r.info.run_id for r in runs(uri, "digits.2")} == first
    assert len(trials(uri, "digits")) == len(trials(uri, "digits.2")) == 2


def test_a_deleted_experiment_of_another_sweep_does_not_take_the_name(uri: str) -> None:
    identity = client(uri).create_experiment("digits", tags={"kurabe.sweep": "c" * 12})
    client(uri).delete_experiment(identity)
    sweep = FakeSweep(Path("results/digits"), trials=1)
    tracker = MlflowListener(uri, sweep.folder)
    tracker.handle(SweepStarted(replace(sweep.info, id="d" * 12)))
    tracker.handle(SweepEnded(sweep.run()))
    assert client(uri).get_experiment(identity).lifecycle_stage == "deleted"
    assert len(trials(uri, "digits")) == 1
