"""What a study runs next: asked ahead, answered from the table, recorded in the order of what was known."""

from __future__ import annotations

import json
from pathlib import Path

from optuna.trial import TrialState

from tests.runner.sweeps import SPACE, driver, load, play, play_all, quality

ONE = ("methods=[supervised]", "budget.trials=8")
FEW = SPACE.replace("{uniform: [0.9, 0.999]}", "{choice: [0.9, 0.99]}").replace(
    "{log_uniform: [1e-3, 0.3]}", "{choice: [0.03, 0.1]}"
)


def events(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()][1:]


def test_the_next_row_is_asked_for_while_one_runs_and_does_not_know_its_result(tmp_path: Path) -> None:
    book = driver(tmp_path, load(tmp_path, SPACE, *ONE))
    row = book.next_row()
    assert row is not None
    book.ask_ahead()
    play(book, row, [0.1, 0.2, 0.3, 0.4])
    (run,) = book.studies.values()
    queue = run.queue
    assert [waiting.number for waiting in queue.waiting] == [1]  # before anybody asked for it
    kinds = [(event["event"], event["key"]) for event in events(tmp_path) if event["event"] in ("asked", "ended")]
    assert kinds == [("asked", row.key), ("asked", queue.waiting[0].key), ("ended", row.key)]
    assert book.next_row() is not None and not queue.waiting


def test_one_row_is_asked_ahead_however_often_one_asks(tmp_path: Path) -> None:
    book = driver(tmp_path, load(tmp_path))
    rows = [book.next_row(), book.next_row()]
    for _ in range(5):
        book.ask_ahead()
    book._collect()
    assert sum(len(run.queue.waiting) for run in book.studies.values()) == 1
    assert len([event for event in events(tmp_path) if event["event"] == "asked"]) == len(rows) + 1


def test_a_known_proposal_is_answered_with_its_values_and_counted(tmp_path: Path) -> None:
    sweep = load(tmp_path, FEW, "methods=[supervised]", "budget.trials=4")
    book = driver(tmp_path, sweep)
    rows = play_all(book)
    assert len({row.key for row in rows}) == 4
    asked = [event for event in events(tmp_path) if event["event"] == "asked"]
    again = [event for event in asked if event["known"]]
    assert len(asked) == 4 + len(again) and len(again) > 0
    scores = {row.key: row.score for row in rows if row.outcome == "completed"}
    assert all(event["values"] in (None, [scores.get(event["key"])]) for event in again)
    assert any(event["values"] for event in again)
    told = book.studies["supervised/0"].queue.proposer._optuna.trials
    answered = [t for t in told if t.state is TrialState.COMPLETE]
    assert len(answered) == len(scores) + sum(event["values"] is not None for event in again)
    book.close()
    assert f"{len(again)} proposal" in book.remarks[0] and "answered from the table" in book.remarks[0]
    assert "search (tpe): " in book.remarks[0] and "slots waited" in book.remarks[0]


def test_a_row_of_another_study_is_never_the_same(tmp_path: Path) -> None:
    """The same four points everywhere, and no key twice: methods and seeds are part of it."""
    rows = play_all(driver(tmp_path, load(tmp_path, FEW, "budget={trials: 4, studies: 2}")))
    assert len(rows) == 16 == len({row.key for row in rows})
    assert len({tuple(row.params.values()) for row in rows}) == 4


def test_two_objectives_are_told_and_the_winner_is_the_scores(tmp_path: Path) -> None:
    extra = "budget={trials: 8, scheduler: none, sampler: nsga2, objectives: [score, seconds]}"
    book = driver(tmp_path, load(tmp_path, SPACE, "methods=[supervised]", extra))
    rows = []
    while (row := book.next_row()) is not None:
        book.ask_ahead()
        outcome = "diverged" if row.number == 3 else "completed"
        play(book, row, [quality(row)] * (2 + row.number % 3), outcome)
        rows.append(row)
    trials = book.studies["supervised/0"].queue.proposer._optuna.trials
    told = [trial.values for trial in trials]
    assert told == [None if row.number == 3 else [row.score, row.seconds] for row in rows]
    assert trials[3].state is TrialState.FAIL
    best = book.best("supervised/0")
    assert best is not None and best.score == max(row.score for row in rows if row.outcome == "completed")


def test_a_ledger_of_before_proposals_were_recorded_goes_on(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    sweep = load(tmp_path, SPACE, *ONE)
    done = play_all(driver(old, sweep), limit=4)
    lines = (old / "ledger.jsonl").read_text().splitlines(keepends=True)
    (new / "ledger.jsonl").write_text("".join(line for line in lines if '"event": "asked"' not in line))
    rest = play_all(driver(new, sweep))
    assert [row.number for row in rest] == [4, 5, 6, 7]
    assert not {row.key for row in rest} & {row.key for row in done}


def test_a_smaller_study_takes_the_first_rows_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    first = driver(tmp_path, load(tmp_path, SPACE, *ONE))
    rows = play_all(first)
    first.ledger.close()
    small = driver(tmp_path, load(tmp_path, SPACE, "methods=[supervised]", "budget.trials=5"))
    assert set(small.rows) == {row.key for row in rows[:5]} and small.next_row() is None
    small.ledger.close()
    large = driver(tmp_path, load(tmp_path, SPACE, "methods=[supervised]", "budget.trials=10"))
    assert [row.number for row in play_all(large)] == [8, 9]


def test_a_trial_whose_start_the_ledger_lost_goes_on_before_those_started_after_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    sweep = load(tmp_path, SPACE, *ONE)
    book = driver(old, sweep)
    play_all(book, limit=2)
    third, fourth = book.next_row(), book.next_row()
    assert third is not None and fourth is not None
    book.ledger.close()
    lines = (old / "ledger.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not ('"event": "started"' in line and third.key in line)]
    assert len(kept) == len(lines) - 1
    (new / "ledger.jsonl").write_text("".join(kept))
    again = driver(new, sweep)
    rows = [again.next_row(), again.next_row()]
    assert [row and row.key for row in rows] == [third.key, fourth.key]
