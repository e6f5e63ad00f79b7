"""Damage to a ledger: what was written comes back or is named, whatever happened to its bytes."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform.core.errors import UserError
from platform.core.events import TrialEnded, TrialStarted
from platform.core.ledger import Ledger, read_rows
from platform.core.ledger_lines import read_content, seal
from platform.core.row import Row
from tests.core.test_ledger import RESOLVED, row
from tests.runner.sweeps import SPACE, driver, load, play

FLIPS = 200
FAILS = {1: "failed", 3: "diverged"}


def a_sweep(folder: Path) -> None:
    """Trials that completed, were stopped, failed and were tried again, diverged, or were interrupted and went on."""
    for run in range(2):
        book = driver(folder, load(folder))
        while (trial := book.next_row()) is not None:
            if trial.number in FAILS and not run:
                play(book, trial, [0.1, 0.2], FAILS[trial.number])
            elif trial.number == 4 and not run:
                play(book, trial, [0.1], "preempted")
            else:
                play(book, trial, [0.1, 0.3, 0.5, 0.6][: 2 if trial.number == 2 else 4], "completed")
        book.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, dict[str, Row]]:
    folder = tmp_path_factory.mktemp("whole")
    a_sweep(folder)
    path = folder / "ledger.jsonl"
    return folder, path.read_bytes(), read_rows(path)[1]


@pytest.fixture
def open_with(tmp_path: Path, whole: Any) -> Iterator[Any]:
    """Open a ledger of these bytes: (rows, what was said), or None and the refusal."""
    resolved = load(tmp_path).resolved()
    opened: list[Ledger] = []

    def opened_with(data: bytes) -> tuple[dict[str, Row] | None, str]:
        for path in tmp_path.glob("ledger*"):
            path.unlink()
        (tmp_path / "ledger.jsonl").write_bytes(data)
        try:
            opened.append(Ledger(tmp_path, resolved))
        except UserError as error:
            assert (tmp_path / "ledger.jsonl").read_bytes() == data
            return None, str(error)
        opened[-1].close()
        return opened[-1].rows, opened[-1].repaired

    yield opened_with


def test_the_sweep_of_these_tests_has_every_kind_of_end(whole):
    _, data, rows = whole
    assert {r.outcome for r in rows.values()} == {"completed", "diverged"} and len(rows) == 10
    kinds = [json.loads(line)["event"] for line in data.splitlines()]
    assert set(kinds) == {"sweep", "asked", "started", "reported", "ended"} and len(kinds) > 70


def test_one_flipped_bit_changes_nothing_silently(whole, open_with):
    _, data, rows = whole
    written = [line["report"] for line in map(json.loads, data.splitlines()) if line["event"] == "reported"]
    chance = random.Random(0)
    said = 0
    for _ in range(FLIPS):
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        found, words = open_with(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
        assert words or found == rows
        said += bool(words)
        if found is not None and (number := data[:place].count(b"\n") + 1) > 1:
            last = "the last line was half written" in words
            assert last or f"ledger.jsonl:{number}: " in words
            assert last or Path(words.rpartition(" ")[2]).exists()  # the copy
            for key, one in found.items():  # what is left is what was written
                assert all(report in written for report in one.reports)
                assert one.spec == rows[key].spec and one.score in (None, rows[key].score)
    assert said == FLIPS


def test_one_changed_digit_changes_nothing_silently(whole, open_with):
    _, data, _ = whole
    chance = random.Random(1)
    places = [place for place, byte in enumerate(data) if chr(byte).isdigit()]
    for place in chance.sample(places, FLIPS):
        other = chance.choice([d for d in b"0123456789" if d != data[place]])
        _, words = open_with(data[:place] + bytes([other]) + data[place + 1 :])
        assert "ledger.jsonl:" in words


def test_whichever_line_is_lost_the_sweep_ends_as_it_would_have(whole, tmp_path):
    """All that may be missing from the table is an evaluation of a trial that had ended: the one that was lost, or what
    it reported before an interruption, where the line of its first start was lost."""
    _, data, rows = whole
    lines = data.split(b"\n")[:-1]
    for number in range(1, len(lines)):
        folder = tmp_path / str(number)
        folder.mkdir()
        event = json.loads(lines[number])
        damaged = [*lines[:number], lines[number][:-9] + b"?" + lines[number][-8:], *lines[number + 1 :]]
        (folder / "ledger.jsonl").write_bytes(b"\n".join(damaged) + b"\n")
        book = driver(folder, load(folder))
        assert f"ledger.jsonl:{number + 1}: " in book.ledger.repaired
        while (trial := book.next_row()) is not None:
            ended = 2 if trial.number == 2 else 4
            if FAILS.get(trial.number) == "diverged":
                play(book, trial, [0.1, 0.2], "diverged")
            else:
                play(book, trial, [0.1, 0.3, 0.5, 0.6][:ended], "completed")
        book.close()
        assert book.rows.keys() == rows.keys(), event
        for key, was in rows.items():
            now = book.rows[key]
            assert (now.outcome, now.score, now.number) == (was.outcome, was.score, was.number), event
            missing = [report for report in was.reports if report not in now.reports]
            assert now.reports == [report for report in was.reports if report not in missing]
            if missing and event["event"] == "started":
                assert (event["key"], was.number, missing) == (key, 4, was.reports[:1])
            elif missing:
                assert (event["event"], event["key"], missing) == ("reported", key, [event["report"]])
        again = driver(folder, load(folder))
        assert not again.ledger.repaired and again.next_row() is None
        assert {r.key: (r.outcome, r.reports) for r in again.rows.values()} == {
            r.key: (r.outcome, r.reports) for r in book.rows.values()
        }
        again.ledger.close()


def test_evaluations_after_a_lost_one_are_sent_again_where_the_trial_goes_on(tmp_path):
    book = driver(tmp_path, load(tmp_path, SPACE, "budget.trials=1", "methods=[supervised]"))
    trial = book.next_row()
    play(book, trial, [0.1, 0.2, 0.3], "preempted")
    book.ledger.close()
    path = tmp_path / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    second = next(i for i, line in enumerate(lines) if b'"evaluation": 2.0' in line)
    lines[second] = lines[second].replace(b"0.2", b"0.9")
    path.write_bytes(b"".join(lines))
    again = driver(tmp_path, load(tmp_path, SPACE, "budget.trials=1", "methods=[supervised]"))
    assert f"ledger.jsonl:{second + 1}: its checksum does not match" in again.ledger.repaired
    assert f"trial {trial.key}: its evaluations from 2 on are made or sent again" in again.ledger.repaired
    same = again.next_row()
    assert same.key == trial.key and [r["score"] for r in same.reports] == [0.1]
    play(again, same, [0.1, 0.2, 0.3, 0.4])
    again.ledger.close()
    assert [r["score"] for r in read_rows(path)[1][trial.key].reports] == [0.1, 0.2, 0.3, 0.4]


def test_a_damaged_line_break_loses_nothing(whole, open_with):
    _, data, rows = whole
    places = [place for place, byte in enumerate(data[:-1]) if byte == 10][1:]
    for place in places[::7]:
        found, words = open_with(data[:place] + b"\x0b" + data[place + 1 :])
        assert found == rows and "a line break in it was damaged" in words


def test_a_key_that_is_not_the_hash_of_its_settings_is_named(tmp_path):
    ledger, trial = Ledger(tmp_path, RESOLVED), row()
    ledger.handle(TrialStarted(trial))
    trial.outcome = "completed"
    ledger.handle(TrialEnded(trial))
    ledger.close()
    path = tmp_path / "ledger.jsonl"
    header, started, ended = map(json.loads, path.read_bytes().splitlines())
    started["spec"]["train"]["lr"] = 0.5
    path.write_bytes(b"".join(seal({k: v for k, v in line.items() if k != "crc"}) for line in (header, started, ended)))
    again = Ledger(tmp_path, RESOLVED)
    assert again.rows == {} and f"ledger.jsonl:2: its key {trial.key} is not the hash of its settings" in again.repaired
    assert f"ledger.jsonl:3: trial {trial.key} is not under way" in again.repaired


def test_readers_name_damage_and_change_nothing(whole, tmp_path, capsys):
    _, data, rows = whole
    path = tmp_path / "ledger.jsonl"
    damaged = data.replace(b'"score": 0.6', b'"score": 0.7', 1)
    path.write_bytes(damaged)
    found = read_rows(path)[1]
    assert ".jsonl:" in (said := capsys.readouterr().err) and "its checksum does not match" in said
    assert found.keys() == rows.keys() and path.read_bytes() == damaged


# -- any bytes ---------------------------------------------------------------------------------------------------------

EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["flip", "cut", "insert", "double"]),
        st.one_of(st.binary(max_size=40), st.sampled_from([b"\n", b"\r", b"\x00" * 100, b'{"event": ', b"[" * 5000])),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_any_bytes_are_answered_in_words(whole, open_with, tmp_path, edits):
    _, data, rows = whole
    for share, how, extra in edits:
        at = int(share * len(data))
        if how == "flip":
            data = data[:at] + bytes(b ^ 1 << (at % 8) for b in data[at : at + 1]) + data[at + 1 :]
        elif how == "cut":
            data = data[:at] + data[at + len(extra) :]
        elif how == "insert":
            data = data[:at] + extra + data[at:]
        else:
            data = data[:at] + data[at - 300 : at] + data[at:]
    found, words = open_with(data)
    assert found is None or words or set(found) <= set(rows)
    shutil.rmtree(tmp_path / "r", ignore_errors=True)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "ledger.jsonl").write_bytes(data)
    try:
        read_rows(tmp_path / "r" / "ledger.jsonl", notify=lambda text: None)
    except UserError as error:
        assert "ledger" in str(error)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("@x"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_fields_under_a_checksum_that_holds_are_answered_in_words(whole, open_with, data):
    """As somebody would write who edits a ledger: every line is as valid as its checksum makes it."""
    lines = [json.loads(line) for line in whole[1].splitlines()]
    for line in lines:
        del line["crc"]
    for _ in range(data.draw(st.integers(1, 3))):
        line = lines[data.draw(st.integers(0, len(lines) - 1))]
        place: dict[str, Any] = line
        key = data.draw(st.sampled_from(sorted(place)))
        while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
            place = place[key]
            key = data.draw(st.sampled_from(sorted(place)))
        if data.draw(st.booleans()):
            place[key] = data.draw(ANYTHING)
        elif place is not line or key != "event":
            del place[key]
    found, words = open_with(b"".join(map(seal, lines)))
    assert found is not None or words


def test_nothing_is_read_of_no_bytes():
    assert read_content(b"").header is None and not read_content(b"").damage
