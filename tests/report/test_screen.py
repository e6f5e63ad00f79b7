"""What a person sees, at 80 and 120 columns, on a terminal and off it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from platform.core.durations import clock
from platform.core.events import SweepEnded, SweepStarted, TrialEnded
from platform.core.row import winner
from platform.report.last_screen import print_last_screen
from platform.report.results_folder import ResultsListener
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
def test_the_live_view_fits(tmp_path: Path, width: int) -> None:
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
    assert any(line.startswith("42 of 48 done  3 running") for line in lines)
    methods = next(place for place, line in enumerate(lines) if line.startswith("method "))
    states = [lines[methods + 1 + i].split()[:3] for i in range(2)]
    assert sorted(states)[0][:2] == ["fixmatch", "done"] and sorted(states)[1] == ["layermatch", "3", "running"]
    assert "24 of 24" in lines[methods + 1] + lines[methods + 2]
    assert "18 of 24" in lines[methods + 1] + lines[methods + 2]
    trials = next(place for place, line in enumerate(lines) if line.startswith("trial "))
    assert methods < trials and [line.split()[2] for line in lines[trials + 1 : trials + 4]] == ["running"] * 3
    scores = [float(line.split()[4]) for line in lines[trials + 4 : trials + 20]]
    assert scores == sorted(scores, reverse=True)
    assert lines[trials + 1].startswith("layermatch/1 #6")


@pytest.mark.parametrize("height", [12, 24, 60])
def test_the_live_view_of_many_methods_fits(tmp_path: Path, height: int) -> None:
    sweep = FakeSweep(tmp_path / "digits", methods=[f"method_{n}" for n in range(40)], trials=1)
    screen = ScreenListener(console=console(80))
    screen.console.height = height
    screen.handle(SweepStarted(sweep.info))
    for row in sweep.rows()[:3]:
        sweep.start(row, screen)
    screen.notice("MLflow does not answer")
    shown = console(80)
    shown.print(screen.render())
    lines = text(shown).splitlines()
    assert len(lines) < height and lines[0].startswith("digits: 40 methods; 40 trials")
    assert sum(line.startswith("method_") and "1 running" in line for line in lines) == min(3, max(1, height - 11))
    assert any("more methods" in line for line in lines) == (height < 60)


def method_table(lines: list[str]) -> dict[str, list[str]]:
    """The cells named best and mean of each method."""
    head = next(place for place, line in enumerate(lines) if line.startswith("method "))
    found = {}
    for line in lines[head + 1 :]:
        if not line.strip() or line.startswith("best,"):
            break
        found[line.split()[0]] = [word for word in line.split()[1:] if re.fullmatch(r"\d\.\d{4}", word)][:2]
    return found


@pytest.mark.parametrize("repeats", [0, 2])
def test_best_and_mean_are_the_same_numbers_while_it_runs_and_at_the_end(tmp_path: Path, repeats: int) -> None:
    outcomes = ("pruned", "completed")
    names = ["supervised", "fixmatch", "layermatch"]
    sweep = FakeSweep(tmp_path / "d", methods=names, studies=3, outcomes=outcomes, repeats=repeats)
    out = console(80)
    screen = ScreenListener(console=out)
    rows = sweep.run(screen)
    shown = console(80)
    shown.print(screen.render())
    live = method_table(text(shown).splitlines())
    assert live == method_table(text(out)[text(out).rindex("method ") :].splitlines())
    for name, (best, mean) in live.items():
        won = [winner([row for row in rows if row.study == f"{name}/{index}"], True) for index in range(3)]
        scores = [row.score for row in won if row is not None and row.score is not None]
        assert (best, mean) == (f"{max(scores):.4f}", f"{sum(scores) / 3:.4f}")


def test_time_left_of_each_method_shares_the_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """a needs 2 x 600 steps of 0.1 s, b 600 of 0.2 s and 300 more: of two equal shares, a ends first."""
    now = [0.0]
    monkeypatch.setattr("platform.report.sweep_progress.time.monotonic", lambda: now[0])
    sweep = FakeSweep(tmp_path / "digits", methods=["a", "b"], trials=4, outcomes=("completed",))
    progress = SweepProgress(sweep.info, began=0.0)
    rows = sweep.rows()
    for row, steps, seconds in (
        (rows[0], 600, 60.0),
        (rows[1], 600, 60.0),
        (rows[4], 600, 120.0),
        (rows[5], 300, 60.0),
    ):
        progress.started(row)
        row.steps, row.seconds = steps, seconds
        now[0] += seconds / 2
        progress.reported(row, {"score": 0.5})
        if steps == 600:
            row.outcome, row.score = "completed", 0.5
            progress.stopped(row)
    found = {method.method: method for method in progress.methods()}
    assert (found["a"].state, found["a"].done, found["a"].total, found["b"].running) == ("waiting", 2, 4, 1)
    whole = progress.seconds_left()  # a needs 120 s of a slot, b 240 + 60
    assert whole is not None and found["b"].left == pytest.approx(whole)
    assert found["a"].left == pytest.approx(whole * (120 + 120) / (300 + 120))


def test_what_it_does_at_the_end_is_said(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", trials=2)
    out = console(80)
    screen = ScreenListener(console=out)
    results = ResultsListener(sweep.folder, screen.doing)
    info, rows = sweep.info, sweep.rows()
    for listener in (results, screen):
        listener.handle(SweepStarted(info))
    results.handle(SweepEnded(rows))
    assert re.search(r"\[0:0\d\] drawing figures\n", text(out))
    shown = console(80)
    shown.print(screen.render())
    assert re.search(r"0:0\d gone, drawing figures", text(shown))


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
    verdict = last.splitlines()[1]
    assert verdict.startswith(f"layermatch reaches test accuracy {best.test_accuracy:.3f} (1 study); there is nothing")
    assert last.index("nothing to") < last.index("best    mean") < last.index("leaderboard ") < last.index("next:")
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
