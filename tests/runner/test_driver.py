"""The driver's book: every study gets its trials, nothing runs twice, a continued sweep is the undisturbed one."""

import pytest

from platform.core.row import Row
from platform.runner.messages import Progress
from tests.runner.sweeps import SPACE, driver, load, play, play_all


def facts(rows: list[Row]) -> list[tuple]:
    return [(r.key, r.study, r.number, r.outcome, r.steps, r.score, r.test_accuracy) for r in rows]


def test_every_study_gets_its_trials_in_turn_and_starts_with_the_defaults(tmp_path):
    sweep = load(tmp_path)
    rows = play_all(driver(tmp_path, sweep))
    assert [r.study for r in rows] == ["supervised/0", "pseudo_label/0"] * 5
    assert [r.number for r in rows] == [n for n in range(5) for _ in range(2)]
    assert [r.params for r in rows[:2]] == [study.start for study in sweep.studies()]
    assert len({r.key for r in rows}) == 10


def test_outcomes_and_the_values_of_the_last_report(tmp_path):
    book = driver(tmp_path, load(tmp_path))
    rows = [book.next_row() for _ in range(4)]
    play(book, rows[0], [0.1, 0.2, 0.3, 0.6])
    play(book, rows[1], [0.1], None)
    play(book, rows[2], [0.1, float("nan")], "diverged")
    book.ended(rows[3].key, "failed", "Traceback: boom")
    assert [r.outcome for r in rows] == ["completed", "pruned", "diverged", "failed"]
    assert (rows[0].score, rows[0].test_accuracy, rows[0].steps) == (0.6, 0.3, 20)
    assert rows[2].score is None and rows[3].error == "Traceback: boom"
    assert book.best("supervised/0") is rows[0]
    assert book.best("pseudo_label/0") is None  # pruned and failed trials win nothing


def test_a_report_that_arrives_twice_counts_once(tmp_path):
    book = driver(tmp_path, load(tmp_path))
    row = book.next_row()
    play(book, row, [0.1, 0.2], "completed")
    before = facts([row])
    play(book, row, [0.9, 0.9, 0.9, 0.9], "completed")
    assert facts([row]) == before and len(row.reports) == 2


@pytest.mark.parametrize("after", range(0, 10, 3))
def test_interrupted_anywhere_and_continued_it_is_the_undisturbed_sweep(tmp_path, after):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    sweep = load(tmp_path)
    undisturbed = play_all(driver(tmp_path / "a", sweep))
    first = driver(tmp_path / "b", sweep)
    done = play_all(first, limit=after)
    open_row = first.next_row()  # the driver dies while this one runs, after one evaluation of it
    if open_row is not None:
        report = {"evaluation": 1.0, "step": 5.0, "seconds": 1.0, "score": 0.5}
        first.reported(Progress(open_row.key, [report]))
    first.ledger.close()
    again = driver(tmp_path / "b", sweep)
    rest = play_all(again)
    assert not {r.key for r in rest} & {r.key for r in done}  # nothing that ended runs again
    by_study = lambda rows: sorted((r.study, r.number, r.key) for r in rows)  # noqa: E731
    assert by_study([*done, *rest]) == by_study(undisturbed)


def test_a_space_without_points_left_ends_its_study(tmp_path):
    text = SPACE.replace("{uniform: [0.9, 0.999]}", "{choice: [0.9, 0.99]}").replace(
        "{log_uniform: [1e-3, 0.3]}", "{choice: [0.03, 0.1]}"
    )
    rows = play_all(driver(tmp_path, load(tmp_path, text, "budget.trials=50")))
    assert len(rows) == 8 and len({r.key for r in rows}) == 8


def test_studies_of_other_seeds_are_other_rows(tmp_path):
    rows = play_all(driver(tmp_path, load(tmp_path, SPACE, "budget.studies=3", "budget.trials=1")))
    assert {r.seed for r in rows} == {0, 1, 2} and len({r.key for r in rows}) == 6
    seeds = {(r.study.split("/")[1], tuple(sorted(r.spec.seeds.items()))) for r in rows}
    assert len(seeds) == 3  # paired: both methods meet the same seeds in a study


def test_listeners_hear_every_event_in_order_and_the_ledger_hears_it_first(tmp_path):
    heard = []

    class Follower:
        def handle(self, event):
            row = getattr(event, "row", None)
            heard.append((type(event).__name__, row and row.key))

    book = driver(tmp_path, load(tmp_path), Follower())
    row = book.next_row()
    play(book, row, [0.1, 0.2])
    other = book.next_row()
    book.close()
    assert [name for name, key in heard if key == row.key] == [
        "TrialStarted",
        "TrialReported",
        "TrialReported",
        "TrialEnded",
    ]
    assert other.outcome == "preempted" and heard[-1][0] == "SweepEnded"


def fail(book, row: Row, outcome: str = "failed") -> None:
    book.reported(Progress(row.key, [{"evaluation": 1.0, "step": 5.0, "seconds": 1.0, "score": 0.5}]))
    book.ended(row.key, outcome, "Traceback: boom" if outcome == "failed" else "")


def attempts(folder, outcome: str, overrides: list[str], limit: int = 6) -> int:
    """How often the first row is tried when the sweep is run again and again and it never comes out."""
    count = 0
    for _ in range(limit):
        book = driver(folder, load(folder, SPACE, "budget.trials=1", "methods=[supervised]", *overrides))
        row = book.next_row()
        if row is None:
            assert [r.outcome for r in book.rows.values()] == [outcome]  # still in the table, as it ended
            book.ledger.close()
            break
        assert row.reports == [] and row.steps == 0  # an attempt begins at the beginning
        fail(book, row, outcome)
        assert book.next_row() is None  # never twice in one run
        book.ledger.close()
        count += 1
    return count


@pytest.mark.parametrize(
    ("outcome", "overrides", "expected"),
    [
        ("failed", [], 2),
        ("failed", ["retry.failed=0"], 1),
        ("failed", ["retry.failed=3", "retry.diverged=5"], 4),
        ("diverged", [], 1),
        ("diverged", ["retry.diverged=2"], 3),
    ],
)
def test_failed_and_diverged_rows_are_tried_as_often_as_retry_says(tmp_path, outcome, overrides, expected):
    assert attempts(tmp_path, outcome, overrides) == expected


def test_a_larger_retry_opens_a_row_that_had_no_attempt_left_and_interruptions_cost_none(tmp_path):
    assert attempts(tmp_path, "failed", []) == 2
    for _ in range(3):  # interrupted: no attempt is used up
        book = driver(tmp_path, load(tmp_path, SPACE, "budget.trials=1", "methods=[supervised]", "retry.failed=2"))
        assert book.next_row() is not None
        book.close()
    assert attempts(tmp_path, "failed", ["retry.failed=2"]) == 1


def test_batches_that_were_split_are_noted_in_the_row_and_the_ledger(tmp_path):
    book = driver(tmp_path, load(tmp_path))
    said = []
    book.notify = said.append
    row = book.next_row()
    report = {"evaluation": 1.0, "step": 5.0, "seconds": 1.0, "score": 0.5}
    book.reported(Progress(row.key, [report], parts=4))
    book.reported(Progress(row.key, outcome="completed", parts=4), done=True)
    assert row.accumulate == 4 and len(said) == 1 and "split in 4" in said[0]
    book.ledger.close()
    assert driver(tmp_path, load(tmp_path)).ledger.rows[row.key].accumulate == 4
