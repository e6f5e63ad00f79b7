"""What a person sees, at 80 and 120 columns, on a terminal and off it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from platform.core.durations import clock
from platform.core.events import SweepEnded, SweepStarted, TrialEnded
from platform.report.last_screen import print_last_screen
from platform.report.screen import ScreenListener
from platform.report.sweep_progress import SweepProgress
from platform.report.trial_text import first_line
from tests.report.fake_sweep import TRACEBACK, FakeSweep


def console(width: int, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, height=40, force_terminal=terminal, record=True)


def text(of: Console) -> str:
    return of.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
def test_plain_output_has_no_control_codes_and_a_line_per_event(tmp_path: Path, width: int) -> None:
    sweep = FakeSweep(tmp_path / "digits")
    out = console(width)
    rows = sweep.run(ScreenListener(console=out))
    said = text(out)
    assert "\x1b" not in said and "\r" not in said
    for row in rows:
        assert f"{row.study} #{row.number} started" in said
        assert f"{row.study} #{row.number} {row.outcome} after {row.steps} steps" in said
    assert said.count(", score ") <= 2 * len(rows) and said.count(" step ") == 1  # throttled
    failed = next(row for row in rows if row.outcome == "failed")
    assert "failed: ValueError: no class has a confident pseudo-label" in said
    assert f"traceback: {sweep.folder / 'errors' / failed.key}.txt" in said


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_fits(tmp_path: Path, width: int) -> None:
    sweep = FakeSweep(tmp_path / "digits", methods=["fixmatch", "layermatch"], studies=2, trials=12)
    screen = ScreenListener(console=console(width))
    screen.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for row in rows[:45]:
        sweep.start(row, screen)
        for report in sweep.reports(row)[: 2 if row in rows[42:] else None]:
            sweep.report(row, report, screen)
        if row in rows[:42]:
            sweep.end(row, screen)
    shown = console(width)
    shown.print(screen.render())
    lines = text(shown).splitlines()
    assert max(map(len, lines)) <= width and len(lines) <= 33
    assert [line.split()[2] for line in lines[1:4]] == ["running"] * 3
    scores = [float(line.split()[4]) for line in lines[4:20]]
    assert scores == sorted(scores, reverse=True)
    assert any(line.startswith("42 of 48 done  3 running") for line in lines)
    assert any("more trials are not shown" in line for line in lines)
    assert sum(line.startswith("best ") for line in lines) == 2
    assert lines[2].startswith("layermatch/1 #7") or lines[1].startswith("layermatch/1 #6")


def test_a_terminal_gets_its_cursor_back(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", trials=2)
    out = console(80, terminal=True)
    screen = ScreenListener(console=out)
    screen.handle(SweepStarted(sweep.info))
    screen.notice("MLflow at http://me:hunter2@host does not answer")
    screen.close()
    said = text(out)
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1
    assert "does not answer" in said and "hunter2" not in said


def test_the_last_screen_says_winner_places_and_next_commands(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits")
    out = console(80)
    screen = ScreenListener(console=out, links=lambda: ["http://127.0.0.1:5000/#/experiments/7/runs"])
    rows = sweep.run(screen)
    best = max((r for r in rows if r.outcome == "completed"), key=lambda r: r.score or 0)
    said = text(out)
    last = said[said.index("3 completed, 1 pruned") :]
    assert f"{best.score:.4f}" in last and f"{best.test_accuracy:.4f}" in last and best.key in last
    assert f"{sweep.folder / 'leaderboard.md'}\n" in last and f"{sweep.folder / 'figures'}\n" in last
    assert "go on where it stopped" not in last
    assert "make ui" in last and "mlflow ui --backend-store-uri sqlite:///results/mlflow.db" in last
    assert "then open http://127.0.0.1:5000/#/experiments/7/runs" in last
    again = next(line for line in last.splitlines() if "name=digits-winner" in line)  # in one piece, to be copied
    assert f"fixed.train.lr={best.params['train.lr']}" in again and again.endswith("budget.studies=1")


def test_a_sweep_that_was_ended_early_says_what_goes_on_with_it(tmp_path: Path) -> None:
    """Also where the trials that ran had ended by themselves, and nothing is marked as interrupted."""
    sweep = FakeSweep(tmp_path / "digits", outcomes=("completed",))
    for complete in (set(), set(sweep.info.studies)):
        out = console(80)
        print_last_screen(out, replace(sweep.info, complete=complete), sweep.rows()[:1], 1.0)
        assert ("go on where it stopped:\n    " + sweep.info.command in text(out)) == (not complete)


def test_nobody_won(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", trials=2)
    out = console(80)
    screen = ScreenListener(console=out)
    screen.handle(SweepStarted(sweep.info))
    rows = sweep.rows()
    for row in rows:
        sweep.start(row, screen)
        row.outcome, row.error = "failed", TRACEBACK
        screen.handle(TrialEnded(row))
    screen.handle(SweepEnded(rows))
    assert "No trial completed" in text(out) and "name=digits-winner" not in text(out)


def test_time_left_counts_earlier_sessions_as_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("platform.report.sweep_progress.time.monotonic", lambda: now[0])
    sweep = FakeSweep(tmp_path / "digits", trials=4, outcomes=("completed",))
    rows = sweep.rows()
    progress = SweepProgress(sweep.info, began=now[0])
    progress.earlier = {rows[0].key: rows[0]}
    rows[0].outcome = "completed"
    assert progress.seconds_left() is None
    progress.started(rows[1])
    now[0] += 30
    rows[1].steps = 300
    progress.reported(rows[1], {"score": 0.5})
    assert progress.seconds_left() == pytest.approx((300 + 2 * 600) / 10)
    assert progress.trials[rows[1].key].speed == pytest.approx(10)
    assert progress.done == 1


def test_words() -> None:
    assert first_line(TRACEBACK) == "ValueError: no class has a confident pseudo-label"
    assert first_line("out of memory\n  at step 3") == "out of memory"
    assert [clock(s) for s in (None, 5.4, 65, 3600 * 3 + 7 * 60)] == ["?", "0:05", "1:05", "3:07:00"]


def test_the_last_screen_says_how_to_run_what_failed_again_and_that_batches_were_split(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", trials=2)
    for failures, words in ((1, ""), (2, " retry.failed=2")):
        out = console(200)
        rows = sweep.rows()
        for row in rows:
            row.outcome, row.score, row.accumulate = "completed", 0.5, 4
        rows[1].outcome, rows[1].error, rows[1].failures = "failed", TRACEBACK, failures
        print_last_screen(out, sweep.info, rows, 1.0)
        lines = [line.strip() for line in text(out).splitlines()]
        assert lines[lines.index("run what failed again:") + 1] == sweep.info.command + words
        assert any("winner of" in line and "split in 4" in line for line in lines)


def test_the_last_screen_names_the_report_where_there_is_one(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", trials=2)
    out = console(80)
    sweep.run(ScreenListener(console=out))
    assert "report.html" not in text(out)
    sweep.folder.mkdir(exist_ok=True)
    (sweep.folder / "report.html").touch()
    sweep.run(ScreenListener(console=out))
    assert f"{sweep.folder / 'report.html'}\n" in text(out)
