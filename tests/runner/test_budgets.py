"""Device-seconds are granted and charged alike; winners are repeated on fresh seeds, paired; both survive a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from platform.core.ledger import Ledger
from platform.core.row import Row, winner
from platform.report.standings import repeats
from platform.runner.driver import Driver
from platform.runner.messages import Progress
from platform.sweepfile import Sweep
from platform.training import selection
from tests.runner.sweeps import SPACE, driver, load, play, play_all, quality, report


def labelled(folder: Path, sweep: Sweep) -> Driver:
    """A driver with a label plan for every repeat."""
    studies, budget = {study.index for study in sweep.studies()}, sweep.budget
    hashes = ("data", {index: f"labels{index}" for index in studies})
    again = {(i, r): f"labels{i}.{r}" for i in studies for r in range(1, budget.repeats + 1)}
    rule = selection.get(sweep.select)
    return Driver(sweep, rule, Ledger(folder, sweep.resolved()), [], hashes, again)


def train(book: Driver, row: Row, evaluation: int, length: float, last: int = 4) -> None:
    """One evaluation, `length` seconds after the one before, as Tune sends it: the stopper first."""
    seconds = evaluation * length
    metrics: dict[str, Any] = report(row, evaluation, 0.5) | {"seconds": seconds}
    over = evaluation == last
    done = over or book.overspends(row.key, seconds)
    outcome = "completed" if over else None
    book.reported(Progress(row.key, [metrics], outcome), done)


def spend(book: Driver, lengths: dict[str, float], slots: int = 1) -> list[Row]:
    """Play to the end; lengths: seconds between two evaluations, by method."""
    running: list[list[Any]] = []
    rows: list[Row] = []
    while True:
        while len(running) < slots and (row := book.next_row()) is not None:
            running.append([row, len(row.reports)])
            rows.append(row)
        if not running:
            return rows
        for entry in list(running):
            entry[1] += 1
            train(book, entry[0], entry[1], lengths[entry[0].method])
            if entry[0].outcome is not None:
                running.remove(entry)


SECONDS = ("budget={seconds: 30, scheduler: none}",)


@pytest.mark.parametrize("slots", [1, 3])
def test_every_method_is_granted_and_charged_the_same_seconds(tmp_path: Path, slots: int) -> None:
    book = driver(tmp_path, load(tmp_path, SPACE, *SECONDS))
    rows = spend(book, {"supervised": 0.5, "pseudo_label": 3.0}, slots)
    for study, length, most in (("supervised/0", 0.5, 15), ("pseudo_label/0", 3.0, 3)):
        mine = [row for row in rows if row.study == study]
        assert book.spending.of(study) == pytest.approx(sum(row.spent for row in mine))
        assert 30 <= book.spending.of(study) < 30 + slots * length  # one evaluation interval per slot at most
        assert most <= len(mine) <= most + slots  # cheap trials are many, dear ones few
        assert {row.outcome for row in mine} <= {"completed", "pruned"}
    assert book.left() == 0 and book.next_row() is None


def test_the_first_trial_of_a_study_always_runs_to_its_end(tmp_path: Path) -> None:
    book = driver(tmp_path, load(tmp_path, SPACE, "budget={seconds: 3}"))
    rows = spend(book, {"supervised": 2.0, "pseudo_label": 3.0}, slots=4)
    first = {row.study: row for row in rows if row.number == 0}
    assert [row.outcome for row in first.values()] == ["completed", "completed"]
    assert all(row.outcome == "pruned" and len(row.reports) == 1 for row in rows if row.number)


def test_beside_trials_whichever_ends_first(tmp_path: Path) -> None:
    book = driver(tmp_path, load(tmp_path, SPACE, "budget={seconds: 30, trials: 4}"))
    rows = spend(book, {"supervised": 0.5, "pseudo_label": 3.0})
    assert [sum(row.study == study for row in rows) for study in ("supervised/0", "pseudo_label/0")] == [4, 3]


def test_what_the_ledger_says_was_spent_counts(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, "methods=[supervised]", *SECONDS)
    first = driver(tmp_path, sweep)
    for _ in range(2):
        row = first.next_row()
        assert row is not None
        for evaluation in range(1, 5):
            train(first, row, evaluation, 3.0)
    under_way = first.next_row()
    assert under_way is not None
    train(first, under_way, 1, 3.0)  # and the machine dies: 27 of 30 seconds are spent
    first.ledger.close()
    again = driver(tmp_path, sweep)
    assert again.spending.of("supervised/0") == pytest.approx(27)
    rows = spend(again, {"supervised": 3.0})
    assert [(row.key, row.outcome, len(row.reports)) for row in rows] == [(under_way.key, "pruned", 2)]
    assert again.spending.of("supervised/0") == pytest.approx(30)
    assert {row.outcome for row in again.close()} == {"completed", "pruned"}
    more = driver(tmp_path, load(tmp_path, SPACE, "methods=[supervised]", "budget={seconds: 45, scheduler: none}"))
    assert more.left() > 0 and len(spend(more, {"supervised": 3.0})) == 2


def test_failed_attempts_are_charged_also_in_another_run(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, "methods=[supervised]", *SECONDS)
    first = driver(tmp_path, sweep)
    row = first.next_row()
    assert row is not None
    train(first, row, 1, 3.0)
    first.reported(Progress(row.key, row.reports[-1:], "failed", "Traceback: boom", seconds=5.0), done=True)
    assert (row.seconds, first.spending.of("supervised/0")) == (5.0, 5.0)  # also what followed its last evaluation
    first.close()
    again = driver(tmp_path, sweep)
    second = again.next_row()
    assert second is not None and (second.key, second.earlier, second.spent) == (row.key, 5.0, 5.0)
    train(again, second, 1, 3.0)
    assert (second.spent, again.spending.of("supervised/0")) == (8.0, 8.0)
    again.ledger.close()
    assert driver(tmp_path, sweep).spending.of("supervised/0") == 8.0


def test_a_failed_trial_of_a_study_without_seconds_is_not_tried_again(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, "methods=[supervised]", "budget={seconds: 3, scheduler: none}")
    first = driver(tmp_path, sweep)
    row = first.next_row()
    assert row is not None
    first.reported(Progress(row.key, [], "failed", "Traceback: boom", seconds=4.0), done=True)
    first.close()
    again = driver(tmp_path, sweep)
    assert again.left() == 0 and again.rows[row.key].outcome == "failed"


# -- repeats -----------------------------------------------------------------------------------------------------------


REPEATS = "budget={trials: 3, repeats: 2, studies: 2}"


def facts(rows: list[Row]) -> list[tuple]:
    return sorted((r.study, r.repeat, r.number, r.key, r.seed, r.outcome or "") for r in rows)


def test_each_winner_is_trained_again_on_the_same_fresh_seeds(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, REPEATS)
    book = labelled(tmp_path, sweep)
    rows = play_all(book)
    assert len({row.key for row in rows}) == len(rows) == 4 * (3 + 2)
    assert all(row.repeat for row in rows[12:]) and not any(row.repeat for row in rows[:12])
    for study in sweep.studies():
        mine = [row for row in rows if row.study == study.id]
        won = winner(mine, True)
        assert won is not None and book.best(study.id) is won
        again = repeats(mine, won)
        assert [(r.repeat, r.seed, r.number) for r in again] == [
            (r, study.index + 10_000 * r, won.number) for r in (1, 2)
        ]
        for row in again:
            fresh = sweep.repeat_seeds(study.index, row.repeat)
            assert row.spec.seeds == fresh and row.spec.labels_hash == f"labels{study.index}.{row.repeat}"
            changed = {"seeds": won.spec.seeds, "labels_hash": won.spec.labels_hash}
            assert row.spec.model_copy(update=changed) == won.spec  # everything else is the winner's
    seeds = {(r.study.split("/")[1], r.repeat): tuple(r.spec.seeds.values()) for r in rows if r.repeat}
    pairs = {(r.study.split("/")[1], r.repeat, tuple(r.spec.seeds.values())) for r in rows if r.repeat}
    assert len(pairs) == len(seeds) == 4  # paired: both methods meet the same seeds


def test_the_search_hears_nothing_of_repeats_and_is_not_charged_for_them(tmp_path: Path) -> None:
    with_repeats, without = (load(tmp_path, SPACE, f"budget={{trials: 4, repeats: {n}}}") for n in (2, 0))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    a, b = labelled(tmp_path / "a", with_repeats), labelled(tmp_path / "b", without)
    rows = play_all(a)
    assert facts([row for row in rows if not row.repeat]) == facts(play_all(b))
    assert a.spending.of("supervised/0") == b.spending.of("supervised/0")
    more = load(tmp_path, SPACE, "budget={trials: 7, repeats: 2}")  # and goes on as if they had not been
    for book in (a, b):
        book.ledger.close()
    rest = [play_all(labelled(tmp_path / name, more)) for name in "ab"]
    new = [facts([row for row in rows if not row.repeat]) for rows in rest]
    assert new[0] == new[1] and len(new[0]) == 6


@pytest.mark.parametrize("after", range(8))
def test_interrupted_anywhere_the_same_repeats_follow(tmp_path: Path, after: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sweep = load(tmp_path, SPACE, "methods=[supervised]", "budget={trials: 4, repeats: 3}")
    undisturbed = play_all(labelled(tmp_path / "a", sweep))
    first = labelled(tmp_path / "b", sweep)
    done = play_all(first, limit=after)
    open_row = first.next_row()
    if open_row is not None:
        first.reported(Progress(open_row.key, [report(open_row, 1, 0.5)]))
    first.ledger.close()
    again = labelled(tmp_path / "b", sweep)
    assert again.left() == 7 - len(done)
    rest = play_all(again)
    assert not {r.key for r in rest} & {r.key for r in done}
    assert facts(again.close()) == facts(undisturbed)
    assert again.complete == {"supervised/0"}


def test_repeats_wait_for_what_still_runs(tmp_path: Path) -> None:
    """With several slots the last trials run together: the winner is settled when the last has ended."""
    book = labelled(tmp_path, load(tmp_path, SPACE, "methods=[supervised]", "budget={trials: 2, repeats: 1}"))
    rows = [book.next_row(), book.next_row()]
    assert book.next_row() is None and book.expecting and book.left() == 1
    play(book, rows[0], [0.6] * 4)
    assert book.next_row() is None and book.expecting
    play(book, rows[1], [0.7] * 4)
    again = book.next_row()
    assert again is not None and (again.repeat, again.params) == (1, rows[1].params)
    assert book.next_row() is None and book.expecting
    play(book, again, [0.1] * 4)
    assert book.next_row() is None and not book.expecting
    assert book.best("supervised/0") is rows[1]


def test_an_interrupted_study_has_no_winner_yet(tmp_path: Path) -> None:
    sweep = load(tmp_path, SPACE, "methods=[supervised]", "budget={trials: 2, repeats: 1}")
    book = labelled(tmp_path, sweep)
    play(book, book.next_row(), [0.6] * 4)
    book.next_row()
    rows = book.close()  # Ctrl-C
    assert [row.outcome for row in rows] == ["completed", "preempted"] and book.complete == set()
    again = labelled(tmp_path, sweep)
    rows = play_all(again)
    assert [row.repeat for row in rows] == [0, 1]


def test_a_new_winner_is_repeated_and_the_old_repeats_stay_in_the_table(tmp_path: Path) -> None:
    small = load(tmp_path, SPACE, "methods=[supervised]", "budget={trials: 1, repeats: 2}")
    first = labelled(tmp_path, small)
    old = play_all(first)
    first.close()
    large = labelled(tmp_path, load(tmp_path, SPACE, "methods=[supervised]", "budget={trials: 9, repeats: 2}"))
    play_all(large)
    rows = large.close()
    won = winner(rows, True)
    assert won is not None and won.number != 0 and quality(won) > quality(old[0])
    assert {row.key for row in old} <= {row.key for row in rows}
    assert [row.number for row in repeats(rows, won)] == [won.number] * 2
    assert sum(row.repeat > 0 for row in rows) == 4


def test_a_study_without_a_winner_has_no_repeats(tmp_path: Path) -> None:
    book = labelled(tmp_path, load(tmp_path, SPACE, "methods=[supervised]", "budget={trials: 2, repeats: 2}"))
    while (row := book.next_row()) is not None:
        play(book, row, [0.1, float("nan")], "diverged")
    assert len(book.rows) == 2 and book.left() == 0 and not book.expecting
