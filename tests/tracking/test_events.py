"""What MLflow is to hold, without MLflow's store."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.core import uri
from platform.tracking import delivery, events
from platform.tracking.buffer import Buffer
from tests.report.fake_sweep import FakeSweep


def test_a_repeat_is_told_apart_and_every_attempt_is_charged() -> None:
    row = FakeSweep(Path("digits")).row("fixmatch", 0, 1)
    assert events.open_trial(row)["tags"]["kurabe.repeat"] == "0"
    row.repeat, row.seconds, row.earlier = 2, 10.0, 2.5
    opened = events.open_trial(row)
    assert opened["tags"]["kurabe.repeat"] == "2" and opened["name"].endswith("(repeat 2)")
    assert events.close_trial(row)["tags"]["kurabe.seconds"] == "12.5"


@pytest.mark.slow
def test_the_limits_are_those_of_the_installed_mlflow() -> None:
    from mlflow.utils import validation

    assert events.MAX_KEY == validation.MAX_ENTITY_KEY_LENGTH
    assert events.MAX_PARAM == validation.MAX_PARAM_VAL_LENGTH
    assert events.MAX_TAG == validation.MAX_TAG_VAL_LENGTH
    assert delivery.MAX_METRICS == validation.MAX_METRICS_PER_BATCH
    assert delivery.MAX_PARAMS_OR_TAGS == validation.MAX_PARAMS_TAGS_PER_BATCH
    assert delivery.MAX_ENTITIES == validation.MAX_ENTITIES_PER_BATCH


@given(st.integers(0, 2500), st.integers(0, 350), st.integers(0, 250))
def test_batches_hold_everything_within_the_limits(metrics: int, params: int, tags: int) -> None:
    batch = delivery._Batch(
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

    _validate_metric_name(events.metric_name(name))


def test_long_values_are_cut_with_notice(tmp_path: Path) -> None:
    row = FakeSweep(tmp_path).row("layermatch", 0, 1)
    row.params["long"] = "x" * 10_000
    row.outcome, row.error = "failed", "begin " + "y" * 10_000 + " end"
    value = events.open_trial(row)["params"]["long"]
    note = events.close_trial(row)["tags"]["mlflow.note.content"]
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
    assert secret not in uri.redact(shown)
    assert secret not in str(uri.scrub({"a": [shown], "b": {"c": shown}}))


@pytest.mark.parametrize("plain", ["sqlite:///results/mlflow.db", "http://127.0.0.1:5000", "mail me@home.org"])
def test_what_holds_no_secret_stays_as_it_is(plain: str) -> None:
    assert uri.redact(plain) == plain
    assert uri.problem("sqlite:////abs/mlflow.db") is None


def test_a_buffer_keeps_order_across_memory_and_disk(tmp_path: Path) -> None:
    waiting = Buffer(tmp_path, limit=5)
    for i in range(23):
        waiting.put({"i": i})
    assert len(waiting) <= 6
    taken = waiting.take(7)
    waiting.give_back(taken[3:])
    order = [e["i"] for e in taken[:3]]
    while some := waiting.take(4):
        order += [e["i"] for e in some]
        waiting.give_back([])
    assert order == list(range(23))
    waiting.forget_delivered()
    assert waiting.empty and list(tmp_path.iterdir()) == []


def test_a_buffer_saves_what_is_under_way_and_survives_a_torn_line(tmp_path: Path) -> None:
    waiting = Buffer(tmp_path, limit=100)
    waiting.put(*({"i": i} for i in range(4)))
    waiting.take(2)  # being delivered when the end comes
    assert waiting.save() == 4
    with waiting.path.open("a") as file:
        file.write('{"i": 99')
    later = Buffer(tmp_path, limit=1)
    later.put({"i": 4}, {"i": 5})
    found = []
    while some := later.take(3):
        found += [e["i"] for e in some]
    assert found == [0, 1, 2, 3, 4, 5]


def test_why_a_trial_has_no_result_and_that_its_batches_were_split_are_tags(tmp_path: Path) -> None:
    row = FakeSweep(tmp_path / "digits").rows()[0]
    row.outcome, row.error, row.accumulate = "failed", "out of memory (device): 2 GiB\nTraceback ...", 8
    tags = events.close_trial(row)["tags"]
    assert tags["kurabe.reason"] == "out of memory (device)" and tags["kurabe.accumulate"] == "8"
    row.error, row.outcome, row.accumulate = "", "completed", 1
    assert not {"kurabe.reason", "kurabe.accumulate"} & set(events.close_trial(row)["tags"])
