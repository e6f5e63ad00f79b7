"""What MLflow is to hold, without MLflow's store."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.core import redaction, uri
from platform.core.row import Row
from platform.tracking import limits
from platform.tracking.log_batch import LogBatch
from platform.tracking.metric_names import curve_name, metric_name
from platform.tracking.trial_content import TrialContent
from platform.tracking.undelivered import Undelivered
from tests.report.fake_sweep import FakeSweep


def closing_tags(row: Row) -> dict[str, str]:
    closing = TrialContent(row).closing()
    assert closing is not None
    return closing.tags


def test_a_repeat_is_told_apart_and_every_attempt_is_charged() -> None:
    row = FakeSweep(Path("digits")).row("fixmatch", 0, 1)
    assert TrialContent(row).opening().tags["kurabe.repeat"] == "0"
    row.repeat, row.seconds, row.earlier, row.outcome = 2, 10.0, 2.5, "completed"
    opened = TrialContent(row).opening()
    assert opened.tags["kurabe.repeat"] == "2" and opened.name.endswith("(repeat 2)")
    assert closing_tags(row)["kurabe.seconds"] == "12.5"


@pytest.mark.slow
def test_the_limits_are_those_of_the_installed_mlflow() -> None:
    from mlflow.utils import validation

    assert limits.MAX_KEY == validation.MAX_ENTITY_KEY_LENGTH
    assert limits.MAX_PARAM == validation.MAX_PARAM_VAL_LENGTH
    assert limits.MAX_TAG == validation.MAX_TAG_VAL_LENGTH
    assert limits.MAX_TAG_OF_EXPERIMENT == validation.MAX_EXPERIMENT_TAG_VAL_LENGTH
    assert limits.MAX_METRICS == validation.MAX_METRICS_PER_BATCH
    assert limits.MAX_PARAMS_OR_TAGS == validation.MAX_PARAMS_TAGS_PER_BATCH
    assert limits.MAX_ENTITIES == validation.MAX_ENTITIES_PER_BATCH


@given(st.integers(0, 2500), st.integers(0, 350), st.integers(0, 250))
def test_batches_hold_everything_within_the_limits(metrics: int, params: int, tags: int) -> None:
    batch = LogBatch(
        [("m", float(i), i, i) for i in range(metrics)],
        {f"p{i}": "" for i in range(params)},
        {f"t{i}": "" for i in range(tags)},
    )
    parts = batch.parts()
    assert [m for part in parts for m in part[0]] == batch.metrics
    assert dict(p for part in parts for p in part[1]) == batch.params
    assert dict(t for part in parts for t in part[2]) == batch.tags
    for m, p, t in parts:
        assert len(m) <= 1000 and len(p) <= 100 and len(t) <= 100 and len(m) + len(p) + len(t) <= 1000


@pytest.mark.slow
@given(st.text(max_size=400))
def test_metric_names_are_ones_mlflow_takes(name: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(metric_name(name))
    _validate_metric_name(curve_name(name))


def test_every_curve_stands_under_one_of_seven_prefixes(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path)
    report = sweep.reports(sweep.row("layermatch", 0, 0))[0] | {
        "diag/stage_clid/features": 0.5,
        "test_accuracy_clid_3": 1,
    }
    keys = {curve_name(name) for name in report if name not in ("step", "evaluation")}
    assert {key.partition("/")[0] for key in keys} == {"val", "test", "train", "loss", "diag", "layer", "system"}
    assert {"val/score", "val/noisy_val_accuracy", "test/test_accuracy", "layer/stage_clid/features"} <= keys


def test_only_a_completed_trial_has_a_final_score(tmp_path: Path) -> None:
    """Its curve has another name, so that no grouping or sorting takes a trial stopped early for a result."""
    sweep = FakeSweep(tmp_path)
    row = sweep.rows()[0]
    row.reports, row.score, row.test_accuracy, row.steps = sweep.reports(row)[:2], 0.9, 0.8, 240
    for outcome in ("pruned", "preempted", "diverged", "failed", "completed"):
        row.outcome = outcome
        content = TrialContent(row)
        closing = content.closing()
        assert closing is not None
        final = {name for name, *_ in closing.metrics}
        assert final == ({"score", "test_accuracy", "cost"} if outcome == "completed" else {"cost"})
        assert not final & {name for name, *_ in content.metrics(content.steps())} - {"cost"}


def test_long_values_are_cut_with_notice(tmp_path: Path) -> None:
    row = FakeSweep(tmp_path).row("layermatch", 0, 1)
    row.params["long"] = "x" * 10_000
    row.outcome, row.error = "failed", "begin " + "y" * 10_000 + " end"
    value = TrialContent(row).opening().params["long"]
    note = closing_tags(row)["mlflow.note.content"]
    assert len(value) == 6000 and "10000 characters" in value
    assert len(note) == 8000 and "characters in all" in note and note.endswith("end\n```")


@pytest.mark.parametrize(
    ("shown", "secret"),
    [
        ("postgresql://me:hunter2@db/x", "hunter2"),
        ("mysql+pymysql://me:hun@ter2@db/x", "ter2"),
        ("https://u:hunter2@host:5000 and more", "hunter2"),
        ("python -m platform.sweep x.yaml tracking=http://me:hunter2@host", "hunter2"),
        ("mssql://db/x?driver=a&password=hunter2", "hunter2"),
        ("https://host/?access_token=hunter2&a=1", "hunter2"),
    ],
)
def test_secrets_are_not_shown(shown: str, secret: str) -> None:
    assert secret not in redaction.redact(shown)
    assert secret not in str(redaction.scrub({"a": [shown], "b": {"c": shown}}))


@pytest.mark.parametrize("plain", ["sqlite:///results/mlflow.db", "http://127.0.0.1:5000", "mail me@home.org"])
def test_what_holds_no_secret_stays_as_it_is(plain: str) -> None:
    assert redaction.redact(plain) == plain
    assert uri.problem("sqlite:////abs/mlflow.db") is None


def test_evaluations_are_not_divided_among_batches_and_the_outcome_comes_last() -> None:
    metrics = [(f"m{i}", 0.0, 1, step) for step in range(1, 151) for i in range(13)]
    parts = LogBatch(metrics, {"p": ""}, {"kurabe.outcome": "completed"}).parts()
    steps = [{step for *_, step in part[0]} for part in parts]
    assert len(parts) == 2 and not steps[0] & steps[1]
    assert [dict(part[2]) for part in parts] == [{}, {"kurabe.outcome": "completed"}]


def test_what_waits_is_said_once_for_each_run_and_in_order(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, trials=3)
    rows, waiting = sweep.rows(), Undelivered()
    for row in rows:
        waiting.note_row(row)
    for report in sweep.reports(rows[0])[:2]:
        rows[0].reports.append(report)
        waiting.note_report(rows[0], report)
    assert waiting.events == 5 and len(waiting) == 3
    taken = waiting.take()
    assert [content.key for content in taken] == [row.key for row in rows]
    assert [len(content.steps()) for content in taken] == [2, 0, 0]
    waiting.delivered(rows[0].key)
    waiting.note_row(rows[0])  # news while the others are being delivered
    assert len(waiting) == 3
    waiting.give_back()
    assert [content.key for content in waiting.take()] == [rows[1].key, rows[2].key, rows[0].key]
    for row in rows:
        waiting.delivered(row.key)
    assert len(waiting) == 0 and waiting.take() == []


def test_what_is_taken_stays_as_it_was_whatever_the_driver_does(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, trials=1)
    row, waiting = sweep.rows()[0], Undelivered()
    waiting.note_row(row)
    reports = sweep.reports(row)
    row.reports.append(reports[0])
    waiting.note_report(row, reports[0])
    row.reports.append(reports[1])  # of which the listener has not heard yet
    row.outcome = "completed"
    (content,) = waiting.take()
    row.reports.append(reports[2])
    assert content.steps() == {120} and content.closing() is None
    waiting.note_row(row)
    assert content.steps() == {120} and content.closing() is None
    waiting.delivered(row.key)
    (content,) = waiting.take()
    assert content.steps() == {120, 240, 360} and content.closing() is not None


def test_why_a_trial_has_no_result_and_that_its_batches_were_split_are_tags(tmp_path: Path) -> None:
    row = FakeSweep(tmp_path / "digits").rows()[0]
    row.outcome, row.error, row.accumulate = "failed", "out of memory (device): 2 GiB\nTraceback ...", 8
    tags = closing_tags(row)
    assert tags["kurabe.reason"] == "out of memory (device)" and tags["kurabe.accumulate"] == "8"
    row.error, row.outcome, row.accumulate = "", "completed", 1
    assert not {"kurabe.reason", "kurabe.accumulate"} & set(closing_tags(row))
