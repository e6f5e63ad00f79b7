"""Comparing on repeats of winners: which rows count, pairs by seed, intervals, and what is said of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from platform.core.row import Row, winner
from platform.report import trial_tables
from platform.report.judge.estimate import mean_estimate
from platform.report.last_screen import print_last_screen
from platform.report.leaderboard import leaderboard, retrain
from platform.report.standings import Standing, paired_difference, repeats, standings, with_n
from platform.report.sweep_progress import SweepProgress, amount
from tests.report.fake_sweep import FakeSweep

Tests = Mapping[tuple[str, int], list[float | None]]


def table(sweep: FakeSweep, tests: Tests) -> list[Row]:
    """A whole sweep whose trial 1 wins every study; tests: by method and study, the test accuracy of each repeat.

    None = it diverged.
    """
    rows = sweep.rows()
    for row in rows:
        row.outcome, row.seconds = "completed", 10.0
        row.score = row.test_accuracy = 0.9 if row.number == 1 else 0.5
    for (method, index), values in tests.items():
        won = next(row for row in rows if (row.method, row.study, row.number) == (method, f"{method}/{index}", 1))
        for repeat, value in enumerate(values, 1):
            row = replace(won, key=f"{method}{index}{repeat}", repeat=repeat, seed=10_000 * repeat + index)
            row.outcome = "diverged" if value is None else "completed"
            row.score, row.test_accuracy = (None, None) if value is None else (value + 0.01, value)
            rows.append(row)
    return rows


def by_method(found: list[Standing]) -> dict[str, Standing]:
    return {standing.method: standing for standing in found}


def test_a_repeat_never_wins_a_study_and_only_the_winners_count(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, repeats=2)
    rows = table(sweep, {("layermatch", 0): [0.99, 0.98]})
    won = winner(rows, True)
    assert won is not None and (won.number, won.repeat) == (1, 0)
    stale = replace(rows[-1], key="stale", number=2, params={"train.lr": 0.5})  # of what won before trial 1 came
    assert [row.key for row in repeats([*rows, stale], won)] == ["layermatch01", "layermatch02"]
    standing = standings(sweep.info, [*rows, stale])[0]
    assert standing.counts.total() == sweep.trials
    assert (standing.searched_seconds, standing.repeated_seconds) == (60.0, 30.0)  # the stale one was paid for, too


def test_methods_are_compared_on_repeats_once_all_have_them(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, methods=["supervised", "fixmatch"], repeats=2)
    one = {("supervised", 0): [0.6, 0.7]}
    assert not any(s.on_repeats for s in standings(sweep.info, table(sweep, one)))
    found = standings(sweep.info, table(sweep, one | {("fixmatch", 0): [0.5, None]}))
    assert [(s.method, s.on_repeats, len(s.repeats), s.tried) for s in found] == [
        ("supervised", True, 2, 2), ("fixmatch", True, 1, 2),
    ]  # fmt: skip
    assert found[0].test_accuracy == mean_estimate([0.6, 0.7], accuracy=True) and found[1].score is not None
    assert found[1].score.value == pytest.approx(0.51)
    rows = table(sweep, one | {("fixmatch", 0): [None, None]})
    last = standings(sweep.info, rows)[-1]
    assert (last.method, last.score, last.on_repeats) == ("fixmatch", None, True)
    assert "| fixmatch | no completed repeat |" in leaderboard(sweep.info, rows)
    running = rows[-1]
    running.outcome = "preempted"
    assert by_method(standings(sweep.info, rows))["fixmatch"].tried == 1


def test_of_one_study_differences_are_paired_by_repeat(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, methods=["supervised", "fixmatch"], repeats=4)
    rows = table(sweep, {("supervised", 0): [0.50, 0.90, 0.80, 0.70], ("fixmatch", 0): [0.52, 0.91, 0.83, None]})
    found = by_method(standings(sweep.info, rows))
    difference = paired_difference(found["fixmatch"], found["supervised"])
    expected = mean_estimate([0.02, 0.01, 0.03])  # the fourth has no partner
    assert difference is not None and expected is not None and expected.low is not None
    assert (difference.n, difference.value) == (3, pytest.approx(0.02))
    assert difference.low == pytest.approx(expected.low)
    assert f"| fixmatch | {with_n(difference)} |" in leaderboard(sweep.info, rows)


def test_of_several_studies_the_interval_is_over_studies(tmp_path: Path) -> None:
    """Repeats of one winner share what the search chose: nine numbers of three searches are three observations."""
    sweep = FakeSweep(tmp_path, methods=["supervised", "fixmatch"], studies=3, repeats=2)
    values = {0: [0.5, 0.6], 1: [0.7, 0.8], 2: [0.8, 0.9]}
    tests: dict[tuple[str, int], list[float | None]] = {}
    for index, pair in values.items():
        tests["supervised", index] = [*pair]
        tests["fixmatch", index] = [value + 0.01 * (index + 1) for value in pair]
    found = by_method(standings(sweep.info, table(sweep, tests)))
    plain = found["supervised"].test_accuracy
    expected = mean_estimate([0.55, 0.75, 0.85], accuracy=True)
    assert plain is not None and expected is not None and expected.low is not None
    assert (plain.n, plain.value, plain.low) == (3, pytest.approx(expected.value), pytest.approx(expected.low))
    difference = paired_difference(found["fixmatch"], found["supervised"])
    expected = mean_estimate([0.01, 0.02, 0.03])
    assert difference is not None and expected is not None and expected.low is not None
    assert (difference.n, difference.low) == (3, pytest.approx(expected.low))


def test_the_leaderboard_says_what_was_granted_spent_and_compared(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, methods=["supervised", "fixmatch"], repeats=2, seconds=500.0)
    rows = table(sweep, {("supervised", 0): [0.6, 0.7], ("fixmatch", 0): [0.7, 0.8]})
    rows[0].earlier = 7.0  # an attempt that failed is charged
    text = leaderboard(sweep.info, rows)
    said = ["1 x 6 trials or 500 device-seconds of at most 600 steps for every method, then 2 repeats of each winner"]
    said += ["| 67 of 500 | 20 |", "| 60 of 500 | 20 |", "167 s of training and evaluation", "seeds 0;"]
    said += ["compared on repeats", "| supervised/0 | 2 | 20000 | `supervised02` | completed | 0.7100 | 0.7000 | 10 |"]
    assert [words for words in said if words not in text] == []
    console = Console(width=120, record=True, file=io.StringIO())
    print_last_screen(console, sweep.info, rows, 10.0)
    screen = console.export_text()
    assert "2 of 2" in screen and "67 of 500" in screen
    words = retrain(sweep.info, rows[1]).split()
    assert {"budget.repeats=0", "budget.seconds=null", "budget.trials=1"} <= set(words)


def test_the_table_tells_repeats_apart_and_charges_every_attempt(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, repeats=1)
    rows = table(sweep, {("layermatch", 0): [0.6]})
    rows[0].earlier = 2.5
    trial_tables.write_trials(tmp_path / "trials.csv", map(trial_tables.trial_record, rows))
    records = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert [record["repeat"] for record in records] == ["0"] * 6 + ["1"]
    assert records[0]["seconds"] == "12.5" and records[-1]["seed"] == "10000"


def test_progress_where_seconds_decide(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path, seconds=100.0, repeats=1)
    progress = SweepProgress(sweep.info)
    rows = table(sweep, {})[:2]
    progress.earlier = {row.key: row for row in rows}
    assert progress.total is None
    assert amount(progress) == "2 done, 20 of 100 device-seconds spent"
    assert SweepProgress(replace(sweep.info, seconds_per_study=None)).total == 7
    assert SweepProgress(replace(sweep.info, planned=3)).total == 3
