"""The last screen of a sweep: the winners, by which rule, where the files are, which commands come next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich.table
from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.text import Text

from platform.core.durations import clock
from platform.core.invocation import caller
from platform.core.redaction import public, redact_command
from platform.core.row import Row, SweepInfo
from platform.core.uri import DEFAULT
from platform.report import pareto
from platform.report.judge.comparison import of_sweep
from platform.report.judge.estimate import Estimate
from platform.report.judge.judgement import Judgement, judge
from platform.report.judge.verdict import verdict
from platform.report.leaderboard import no_score, repeats_completed, retrain, seconds_spent
from platform.report.standings import OUTCOMES, Standing, standings, with_n
from platform.report.table import Column, Table
from platform.report.trial_text import first_line, number, trial_name
from platform.report.typed_command import with_settings

WINNERS = 6
"""Winners that are named one by one."""


def print_last_screen(
    console: Console,
    info: SweepInfo,
    rows: Sequence[Row],
    elapsed: float,
    notices: Sequence[str] = (),
    links: Sequence[str] = (),
    judged: Judgement | None = None,
) -> None:
    """Print it, for any width from 60 on; the terminal wraps paths and commands, so that they can be copied.

    judged: of these rows, where that is known already.
    """
    judged = judged or judge(of_sweep(info, rows))
    console.print(Rule(f"{info.name}: {_outcomes(rows)} in {clock(elapsed)}", style="bold"))
    if judged.scored:
        for number, sentence in enumerate(verdict(judged)):
            console.print(Text(sentence, style="" if number else "bold"))
        console.print()
    for part in _parts(info, rows, judged, notices, links):
        console.print(part, soft_wrap=isinstance(part, Text))


def _parts(
    info: SweepInfo, rows: Sequence[Row], judged: Judgement, notices: Sequence[str], links: Sequence[str]
) -> list[RenderableType]:
    order = {place.method.method: number for number, place in enumerate(judged.places)}
    ranked = sorted(standings(info, rows), key=lambda standing: order.get(standing.method, len(order)))
    parts: list[RenderableType] = []
    if any(s.winners for s in ranked):
        leading = {place.method.method for place in judged.places if place.leading}
        parts += [_scores(info, ranked, leading), *_meanings(info, ranked), Text(), *_winners(info, ranked)]
    else:
        parts.append(Text("No trial completed, so nobody won.", style="red"))
    parts += [Text(), *_failures(info, rows), *(Text(notice, style="yellow") for notice in notices)]
    parts += [*map(Text, _remarks(info, rows)), *_places(info)]
    parts += [Text(), *_commands(info, rows, ranked, links)]
    return parts


def _outcomes(rows: Sequence[Row]) -> str:
    counts = [(sum(row.outcome == outcome for row in rows), outcome) for outcome in OUTCOMES]
    return ", ".join(f"{count} {outcome}" for count, outcome in counts if count) or "no trials"


def _scores(info: SweepInfo, ranked: Sequence[Standing], leading: set[str]) -> rich.table.Table:
    """Best and mean are what the live view calls so. leading: methods that no other is surely better than."""
    best = max if info.maximise else min
    columns: list[Column[Standing]] = [
        Column("method", lambda s: s.method, style=lambda s: "green" if s.method in leading else ""),
        Column("best", lambda s: f"{best(scores):.4f}" if (scores := _won(s)) else "", "right"),
        Column("mean", lambda s: f"{sum(scores) / len(scores):.4f}" if (scores := _won(s)) else "", "right"),
        Column(
            info.test_accuracy_name,
            lambda s: no_score(s) if s.score is None else _mean(s.test_accuracy),
            style=lambda s: "red" if s.score is None else "",
        ),
    ]
    if any(s.on_repeats for s in ranked):
        columns.append(Column("repeats", repeats_completed))
    if info.seconds_per_study:
        columns.append(Column("seconds spent", lambda s: seconds_spent(info, s)))
    return Table(columns, ranked).terminal()


def _won(standing: Standing) -> list[float]:
    return [row.score for row in standing.winners if row.score is not None]


def _mean(value: Estimate | None) -> str:
    """The mean as in the leaderboard, but without "n = 1, no interval"."""
    return "not known" if value is None else with_n(value).replace(" (n = 1, no interval)", "")


def _meanings(info: SweepInfo, ranked: Sequence[Standing]) -> list[Text]:
    lines = [f"best, mean: scores of winners ({info.select}), which flatter"]
    lines += [f"{info.test_accuracy_name}: of the winners' repeats"] if any(s.on_repeats for s in ranked) else []
    return [Text(line, style="dim") for line in lines]


def _winners(info: SweepInfo, ranked: Sequence[Standing]) -> list[Text]:
    """The winning trial of each study, its values below it; of many, the best of the first method."""
    rows = [row for standing in ranked for row in standing.winners]
    if len(rows) <= WINNERS:
        return [text for standing in ranked for text in _hyper(standing.winners)]
    shown = _best_winner(info, ranked)
    return [*_hyper([shown]), Text(f"and {len(rows) - 1} other winners, see {info.folder / 'leaderboard.md'}")]


def _best_winner(info: SweepInfo, ranked: Sequence[Standing]) -> Row:
    """Of the first method that has winners, the one with the best score."""
    sign = 1 if info.maximise else -1
    return max(next(s.winners for s in ranked if s.winners), key=lambda row: sign * (row.score or 0.0))


def _hyper(winners: Sequence[Row]) -> list[Text]:
    lines = []
    for row in winners:
        head = f"winner of {row.study}: trial #{row.number} ({row.key})"
        if row.score is not None:
            head += f", score {row.score:.4f}"
        if row.accumulate > 1:
            head += f"; its batches did not fit into memory and were split in {row.accumulate}"
        values = "  ".join(f"{name} = {number(value)}" for name, value in row.params.items()) or "the defaults"
        lines += [Text(head), Text(f"    {values}", style="cyan")]
    return lines


def _failures(info: SweepInfo, rows: Sequence[Row]) -> list[Text]:
    failed = [row for row in rows if row.error]
    lines = []
    for row in failed[:5]:
        lines.append(Text(f"{row.study} {trial_name(row)} {row.outcome}: {first_line(row.error)}", style="red"))
        lines.append(Text(f"    {info.folder / 'errors' / (row.key + '.txt')}"))
    if len(failed) > 5:
        lines.append(Text(f"and {len(failed) - 5} more, see {info.folder / 'errors'}", style="red"))
    return [*lines, Text()] if lines else []


def _remarks(info: SweepInfo, rows: Sequence[Row]) -> list[str]:
    doubtful = "no true test label is known: labels as given may be as wrong as those trained on"
    return [
        *([doubtful] if info.test_labels != "true" else []),
        *(pareto.said(info, rows) if pareto.asked_for(info) else []),
        *info.remarks,
    ]


def _places(info: SweepInfo) -> list[Text]:
    folder = Path(info.folder)
    places = [("results", folder), ("leaderboard", folder / "leaderboard.md"), ("table", folder / "trials.csv")]
    places += [("curves", folder / "curves.parquet"), ("figures", folder / "figures")]
    places[:0] = [("report", folder / "report.html")] if (folder / "report.html").exists() else []
    return [Text(f"{name:<12}{path}") for name, path in places]


def _commands(info: SweepInfo, rows: Sequence[Row], ranked: Sequence[Standing], links: Sequence[str]) -> list[Text]:
    lines = [Text("next:", style="bold")]
    if info.unfinished:
        lines.append(_command("go on where it stopped", redact_command(info.command)))
    if failed := [row.failures for row in rows if row.outcome == "failed"]:
        enough = max(failed) <= (info.resolved.get("retry") or {}).get("failed", 1)
        words = [] if enough else [f"retry.failed={max(failed)}"]
        lines.append(_command("run what failed again", with_settings(info.command, words)))
    if info.tracking and info.tracking != "none":
        lines.append(_command("the runs in MLflow", *_pages(info.tracking, links)))
    if any(s.winners for s in ranked):
        row = _best_winner(info, ranked)
        lines.append(_command(f"train the winner of {row.study} again", retrain(info, row)))
    lines.append(_command("the tables in Python", f'import kurabe; results = kurabe.load("{info.folder}")'))
    return lines


def _pages(tracking: str, links: Sequence[str]) -> list[str]:
    shown = public(tracking)
    if tracking.startswith(("http://", "https://")):
        return list(links) or [shown]
    command = f"mlflow ui --backend-store-uri {shown}"
    door = "kurabe ui" if caller() == "command" else "make ui"  # which works in the repository's folder alone
    start = [door, f"(or {command})"] if tracking == DEFAULT else [command]
    return [*start, *(f"then open {link}" for link in links)]


def _command(purpose: str, *lines: str) -> Text:
    text = Text(f"  {purpose}:")
    for line in lines:
        text.append(f"\n    {line}", style="" if line.startswith("(") else "cyan")
    return text
