"""The live view of a sweep: its progress, a row per method, below it the trials that run and the best that ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.style import Style
from rich.table import Table
from rich.text import Text

from platform.core.durations import clock
from platform.core.row import Row
from platform.report.sweep_progress import MethodProgress, SweepProgress, TrialProgress, amount
from platform.report.trial_text import first_line, settings, trial_name

TRIALS = 20
FEWEST_TRIALS = 4
"""Lines that trials have where there are more methods than lines, on a terminal that is not very low."""
STYLES = {
    "running": "cyan",
    "completed": "green",
    "pruned": "yellow",
    "diverged": "magenta",
    "failed": "red",
    "preempted": "blue",
}
_METHOD_STYLES = {"running": "cyan", "done": "green", "waiting": "dim"}


@dataclass
class SweepView:
    """What is shown of a sweep at `elapsed` seconds. doing: what is done beside trials. said: lines shown last."""

    progress: SweepProgress
    heading: str
    elapsed: float
    doing: str = ""
    said: Sequence[Text] = field(default_factory=list)

    def render(self, width: int, height: int) -> RenderableType:
        """The view in at most `height` - 1 lines of `width` columns."""
        head = [*(_line(line, "bold") for line in wrap(self.heading, width)), self._counts(), self._time(), Text()]
        said = [_line(text.plain, text.style) for text in self.said]
        room = height - 1 - len(head) - (len(said) + 1 if said else 0)
        methods = self.progress.methods()
        trials = min(TRIALS, max(min(FEWEST_TRIALS, room // 4), room - len(methods) - 3))
        shown = self.progress.shown(trials)
        lines = room - 1 - (len(shown) + 2 if shown else 0)
        lines = len(methods) if len(methods) <= lines else max(1, lines - 1)
        parts: list[RenderableType] = [*head, self._methods(methods[:lines])]
        parts += [_line(f"{more} more methods", "dim")] if (more := len(methods) - lines) > 0 else []
        if shown:
            parts += [Text(), self._trials(shown, width)]
        parts += [Text(), *said] if said else []
        return Group(*parts)

    def _counts(self) -> Text:
        counts = self.progress.counts
        text = Text(amount(self.progress), style="bold", no_wrap=True, overflow="ellipsis")
        for state, style in STYLES.items():
            if counts[state] or state in ("running", "completed", "pruned"):
                text.append(f"  {counts[state]} {state}", style=style)
        return text

    def _time(self) -> Text:
        left = self.progress.seconds_left()
        return _line(f"{clock(self.elapsed)} gone, {self.doing or f'about {clock(left)} left'}")

    def _methods(self, shown: Sequence[MethodProgress]) -> Table:
        table = _table()
        table.add_column("method", no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column("state", no_wrap=True)
        for name in ("best", "mean", "trials done", "time left"):
            table.add_column(name, justify="right", no_wrap=True)
        for method in shown:
            done = str(method.done) + ("" if method.total is None else f" of {method.total}")
            left = "" if method.state == "done" else clock(method.left)
            scores = ["" if value is None else f"{value:.4f}" for value in (method.best, method.mean)]
            state = f"{method.running} running" if method.running else method.state
            table.add_row(Text(method.method), Text(state, style=_METHOD_STYLES[method.state]), *scores, done, left)
        return table

    def _trials(self, shown: Sequence[TrialProgress], width: int) -> Table:
        table = _table()
        table.add_column("trial", no_wrap=True, overflow="ellipsis", max_width=max(16, width // 4))
        table.add_column("state", no_wrap=True)
        table.add_column("step", justify="right", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("steps/s", justify="right", no_wrap=True)
        table.add_column("hyper-parameters", ratio=1, no_wrap=True, overflow="ellipsis")
        for seen in shown:
            state = seen.row.outcome or "running"
            score = "" if seen.score is None else f"{seen.score:.4f}"
            speed = "" if seen.speed is None else f"{seen.speed:.0f}" if seen.speed >= 10 else f"{seen.speed:.1f}"
            step = f"{seen.row.steps}/{self.progress.info.steps}"
            last = settings(seen.row).replace("train.", "") if not seen.row.error else first_line(seen.row.error)
            table.add_row(Text(self._name(seen.row)), Text(state, style=STYLES[state]), step, score, speed, Text(last))
        return table

    def _name(self, row: Row) -> str:
        """The shortest name of a trial that this sweep allows: #3, fixmatch #3, fixmatch/1 #3."""
        info = self.progress.info
        if len(info.studies) == 1:
            return trial_name(row)
        return f"{row.method if len(info.studies) == len(info.methods) else row.study} {trial_name(row)}"


def _table() -> Table:
    return Table(expand=True, box=None, pad_edge=False, header_style="bold", padding=(0, 1))


def _line(text: str, style: str | Style = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
