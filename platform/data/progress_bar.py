"""A progress bar on a terminal, a line every tenth part elsewhere, nothing where it is not wanted."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator


class ProgressBar:
    """A progress bar that shows nothing; base of those that do. `advance` may be called from several threads."""

    def start(self, what: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...


class _Lines(ProgressBar):
    def __init__(self) -> None:
        self._lock, self._what, self._total, self._done, self._shown = threading.Lock(), "", 1, 0, 0

    def start(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._shown = what, max(total, 1), 0, 0
        print(f"{what}: {total:,} images", file=sys.stderr, flush=True)

    def advance(self, done: int) -> None:
        with self._lock:
            self._done += done
            tenth = min(10, 10 * self._done // self._total)
            if tenth > self._shown:
                self._shown = tenth
                print(f"{self._what}: {self._done:,} of {self._total:,}", file=sys.stderr, flush=True)


class _Bar(ProgressBar):
    def __init__(self, bar: object) -> None:
        self._bar, self._task = bar, None

    def start(self, what: str, total: int) -> None:
        self._task = self._bar.add_task(what, total=total)  # type: ignore[attr-defined]

    def advance(self, done: int) -> None:
        self._bar.update(self._task, advance=done)  # type: ignore[attr-defined]


@contextlib.contextmanager
def progress_bar(wanted: bool) -> Iterator[ProgressBar]:
    """The bar that suits standard error."""
    if not wanted:
        yield ProgressBar()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield _Bar(bar)
