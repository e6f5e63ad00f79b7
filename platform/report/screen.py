"""The screen of a sweep: a live view on a terminal, a line per event elsewhere, and a last screen at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.text import Text

from platform.core.durations import clock
from platform.core.events import Event, SweepEnded, SweepStarted, TrialEnded, TrialReported, TrialStarted
from platform.core.redaction import redact
from platform.core.row import Row, SweepInfo
from platform.report.full_screen import FullScreen
from platform.report.judge.comparison import of_sweep
from platform.report.judge.judgement import judge
from platform.report.last_screen import print_last_screen
from platform.report.sweep_progress import SweepProgress, amount
from platform.report.sweep_view import SweepView
from platform.report.trial_text import counted, first_line, settings, trial_name

PROGRESS_SECONDS = 10.0  # between two lines about trials under way, where the output is no terminal
NAMED = 6
"""Methods that the heading names one by one."""
SHOWN = 4
"""Notices and failures that the live view shows, the last ones."""


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
        self._full: FullScreen | None = None  # the live view, while there is one
        self._doing = ""
        self._lock = threading.RLock()
        self._next_line = 0.0
        self._notices: list[str] = []

    def notice(self, text: str) -> None:
        """A line for the person: at once, and once more on the last screen."""
        text = redact(text)
        self._notices.append(text)
        with self._lock:
            self._line(text, style="yellow")

    def doing(self, text: str) -> None:
        """What is done when no trial runs: "drawing figures"."""
        self._doing = text
        self._event(text)
        if (full := self._full) is not None:
            full.refresh()  # without our lock: the live view takes it inside its own

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
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._full = FullScreen(self.console, self.render)
            self._full.start()

    def _trial_started(self, row: Row) -> None:
        with self._lock:
            self._progress.started(row)
        verb = "continues" if row.reports else "started"
        self._event(f"{_name(row)} {verb}: {settings(row) or 'defaults'}")

    def _trial_reported(self, row: Row, report: dict[str, float]) -> None:
        with self._lock:
            self._progress.reported(row, report)
        now = time.monotonic()
        if now >= self._next_line and self._full is None:
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
            with self._lock:
                self._line(f"{_name(row)} {row.outcome}: {first_line(row.error)}", style="red")
                self._line(f"    traceback: {self._progress.info.folder / 'errors' / (row.key + '.txt')}", style="red")

    def _sweep_ended(self, rows: list[Row]) -> None:
        info = self._progress.info
        self.doing("comparing methods")  # takes seconds where there are many methods and studies
        judged = judge(of_sweep(info, rows))
        self.close(said_again=True)
        elapsed = time.monotonic() - self._progress.began
        print_last_screen(self.console, info, rows, elapsed, self._notices, self._links(), judged)

    def close(self, said_again: bool = False) -> None:
        """Give the terminal back, also when a sweep ends in an exception.

        Notices and failures are printed then, unless the last screen says them.
        """
        with self._lock:
            full, self._full = self._full, None
        if full is not None:
            others = [line for line in full.lines if line.style == ""]  # what something else has printed meanwhile
            full.lines[:] = others if said_again else full.lines
            full.stop()

    def abandon(self) -> None:
        """Give the terminal back at once; for a signal handler that ends the process."""
        if self._full is not None:
            self._full.abandon()

    def render(self) -> RenderableType:
        """The live view at the console's width and height."""
        with self._lock:
            elapsed = time.monotonic() - self._progress.began
            said = self._full.lines[-SHOWN:] if self._full is not None else []
            view = SweepView(self._progress, self._heading(), elapsed, self._doing, said)
            return view.render(*self.console.size)

    # -- lines -------------------------------------------------------------------------------------------------------

    @property
    def _progress(self) -> SweepProgress:
        assert self.progress is not None, "sweep_started was not called"
        return self.progress

    def _heading(self) -> str:
        info = self._progress.info
        studies = len(info.studies) // max(1, len(info.methods))
        total = "" if self._progress.total is None else f"{self._progress.total} "
        methods = ", ".join(info.methods) if len(info.methods) <= NAMED else f"{len(info.methods)} methods"
        what = f"{info.name}: {methods}; {total}trials of at most {info.steps} steps"
        again = f", then {counted(info.repeats, 'repeat')} of each winner" if info.repeats else ""
        short = studies == 1 and info.seconds_per_study is None and not again
        each = "" if short else f" ({studies} stud{'y' if studies == 1 else 'ies'} of {info.budget} per method{again})"
        return f"{what}{each}, {info.slots} at a time, winner by {info.select}"

    def _left(self) -> str:
        progress = self._progress
        return f"{amount(progress)}, about {clock(progress.seconds_left())} left"

    def _event(self, text: str) -> None:
        if self._full is None:
            self._line(f"[{clock(time.monotonic() - self._progress.began)}] {text}")

    def _line(self, text: str, style: str = "") -> None:
        if self._full is not None:
            self._full.print(Text(text, style=style))
        else:
            self.console.print(Text(text, style=style), soft_wrap=not self.console.is_terminal)


def _name(row: Row) -> str:
    return f"{row.study} {trial_name(row)}"
