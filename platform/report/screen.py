"""The screen of a sweep: a live table on a terminal, a line per event elsewhere, and a last screen at the end."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from platform.core.durations import clock
from platform.core.events import Event, SweepEnded, SweepStarted, TrialEnded, TrialReported, TrialStarted
from platform.core.redaction import redact
from platform.core.row import Row, SweepInfo
from platform.report.last_screen import print_last_screen
from platform.report.sweep_progress import SweepProgress, TrialProgress, amount
from platform.report.trial_text import counted, first_line, settings, trial_name

ROWS = 25
PROGRESS_SECONDS = 10.0  # between two lines about trials under way, where the output is no terminal
STYLES = {
    "running": "cyan",
    "completed": "green",
    "pruned": "yellow",
    "diverged": "magenta",
    "failed": "red",
    "preempted": "blue",
}


class ScreenListener:
    """Shows a sweep on `console` (stdout). `notice` may be called from any thread.

    links: called at the end for the addresses of the runs in a browser (MlflowListener.links).
    """

    def __init__(
        self,
        console: Console | None = None,
        links: Callable[[], list[str]] = list,
    ) -> None:
        self._links = links
        self.console = console or Console()
        self.progress: SweepProgress | None = None  # from the start of the sweep on
        self._live: Live | None = None
        self._lock = threading.RLock()
        self._next_line = 0.0
        self._notices: list[str] = []

    def notice(self, text: str) -> None:
        """A line for the person: above the live table, and once more on the last screen."""
        text = redact(text)
        self._notices.append(text)
        self.console.print(Text(text, style="yellow"), soft_wrap=True)

    # -- events ------------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        match event:
            case SweepStarted(info, rows):
                self._sweep_started(info, rows)
            case TrialStarted(row):
                self._trial_started(row)
            case TrialReported(row, report):
                self._trial_reported(row, report)
            case TrialEnded(row):
                self._trial_ended(row)
            case SweepEnded(rows):
                self._sweep_ended(rows)
            case _:
                pass

    def _sweep_started(self, info: SweepInfo, known: list[Row]) -> None:
        self.progress = SweepProgress(info)
        self.progress.earlier = {row.key: row for row in known if row.outcome is not None}
        self._line(self._heading(), style="bold")
        if self.progress.earlier:
            self._line(f"{len(self.progress.earlier)} trials were run before and are not run again")
        if self.console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self.console, refresh_per_second=2, transient=True)
            self._live.start()
            atexit.register(self.close)

    def _trial_started(self, row: Row) -> None:
        with self._lock:
            self._progress.started(row)
        verb = "continues" if row.reports else "started"
        self._event(f"{_name(row)} {verb}: {settings(row) or 'defaults'}")

    def _trial_reported(self, row: Row, report: dict[str, float]) -> None:
        with self._lock:
            self._progress.reported(row, report)
        now = time.monotonic()
        if now >= self._next_line and self._live is None:
            self._next_line = now + PROGRESS_SECONDS
            score = self._progress.trials[row.key].score
            said = "" if score is None else f", score {score:.4f}"
            self._event(f"{_name(row)} step {row.steps}/{self._progress.info.steps}{said}; {self._left()}")

    def _trial_ended(self, row: Row) -> None:
        with self._lock:
            self._progress.stopped(row)
        scores = "" if row.score is None else f", score {row.score:.4f}"
        scores += (
            "" if row.test_accuracy is None else f", {self._progress.info.test_accuracy_name} {row.test_accuracy:.4f}"
        )
        self._event(f"{_name(row)} {row.outcome} after {row.steps} steps, {row.seconds:.1f} s{scores}; {self._left()}")
        if row.error:
            self._line(f"{_name(row)} {row.outcome}: {first_line(row.error)}", style="red")
            self._line(f"    traceback: {self._progress.info.folder / 'errors' / (row.key + '.txt')}", style="red")

    def _sweep_ended(self, rows: list[Row]) -> None:
        self.close()
        elapsed = time.monotonic() - self._progress.began
        print_last_screen(self.console, self._progress.info, rows, elapsed, self._notices, self._links())

    def close(self) -> None:
        """Give the terminal back; also when a sweep ends in an exception."""
        atexit.unregister(self.close)
        if self._live is not None:
            self._live.stop()
            self._live = None

    # -- lines -------------------------------------------------------------------------------------------------------

    @property
    def _progress(self) -> SweepProgress:
        assert self.progress is not None, "sweep_started was not called"
        return self.progress

    def _heading(self) -> str:
        info = self._progress.info
        studies = len(info.studies) // max(1, len(info.methods))
        total = "" if self._progress.total is None else f"{self._progress.total} "
        what = f"{info.name}: {', '.join(info.methods)}; {total}trials of at most {info.steps} steps"
        again = f", then {counted(info.repeats, 'repeat')} of each winner" if info.repeats else ""
        short = studies == 1 and info.seconds_per_study is None and not again
        each = "" if short else f" ({studies} stud{'y' if studies == 1 else 'ies'} of {info.budget} per method{again})"
        return f"{what}{each}, {info.slots} at a time, winner by {info.select}"

    def _left(self) -> str:
        progress = self._progress
        return f"{amount(progress)}, about {clock(progress.seconds_left())} left"

    def _event(self, text: str) -> None:
        if self._live is None:
            self._line(f"[{clock(time.monotonic() - self._progress.began)}] {text}")

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style), soft_wrap=not self.console.is_terminal)

    # -- the live table ----------------------------------------------------------------------------------------------

    def _render(self) -> RenderableType:
        with self._lock:
            return self.render()

    def render(self) -> RenderableType:
        """The live view at the console's width and height."""
        room = max(3, min(ROWS, self.console.height - 8 - len(self._progress.info.methods)))
        shown = self._progress.shown(room)
        parts: list[RenderableType] = [self._table(shown), self._counts()]
        hidden = len(self._progress.trials) - len(shown)
        if hidden > 0:
            parts.append(Text(f"{hidden} more trials are not shown", style="dim"))
        parts.append(self._time())
        for row in self._progress.best():
            text = f"best {row.method}: {row.score:.4f}  {settings(row)}"
            parts.append(Text(text, style="green", no_wrap=True, overflow="ellipsis"))
        return Group(*parts)

    def _table(self, shown: list[TrialProgress]) -> Table:
        table = Table(expand=True, box=None, pad_edge=False, header_style="bold", padding=(0, 1))
        table.add_column("trial", no_wrap=True, overflow="ellipsis", max_width=max(16, self.console.width // 4))
        table.add_column("state", no_wrap=True)
        table.add_column("step", justify="right", no_wrap=True)
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("steps/s", justify="right", no_wrap=True)
        table.add_column("hyper-parameters", ratio=1, no_wrap=True, overflow="ellipsis")
        for seen in shown:
            state = seen.row.outcome or "running"
            score = "" if seen.score is None else f"{seen.score:.4f}"
            speed = "" if seen.speed is None else f"{seen.speed:.0f}" if seen.speed >= 10 else f"{seen.speed:.1f}"
            step = f"{seen.row.steps}/{self._progress.info.steps}"
            last = _short(seen.row) if not seen.row.error else first_line(seen.row.error)
            table.add_row(self._name(seen.row), Text(state, style=STYLES[state]), step, score, speed, Text(last))
        return table

    def _counts(self) -> Text:
        progress = self._progress
        counts = progress.counts
        text = Text(amount(progress), style="bold")
        for state, style in STYLES.items():
            if counts[state] or state in ("running", "completed", "pruned"):
                text.append(f"  {counts[state]} {state}", style=style)
        return text

    def _time(self) -> Text:
        gone, left = time.monotonic() - self._progress.began, self._progress.seconds_left()
        return Text(f"{clock(gone)} gone, about {clock(left)} left")

    def _name(self, row: Row) -> str:
        """The shortest name of a trial that this sweep allows: #3, fixmatch #3, fixmatch/1 #3."""
        info = self._progress.info
        if len(info.studies) == 1:
            return trial_name(row)
        return f"{row.method if len(info.studies) == len(info.methods) else row.study} {trial_name(row)}"


def _name(row: Row) -> str:
    return f"{row.study} {trial_name(row)}"


def _short(row: Row) -> str:
    """Hyper-parameters without their section, to show more of them."""
    return settings(row).replace("train.", "")
