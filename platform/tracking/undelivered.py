"""The runs that have something new for MLflow: noted by the driver's thread, taken by the writer's."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from dataclasses import dataclass, field, replace
from threading import Lock

from platform.core.row import Row
from platform.tracking.run_content import RunContent, now
from platform.tracking.study_content import StudyContent
from platform.tracking.trial_content import TrialContent


@dataclass
class RowNotes:
    """A row as of its last event. `reports` is the driver's own list, of which the first `count` are part of it."""

    row: Row
    start: int  # in ms, and so are the next two
    reports: list[dict[str, float]] = field(default_factory=list)
    count: int = 0
    times: dict[int, int] = field(default_factory=dict)  # of the evaluations, by step
    ended: int = 0
    won: bool = False

    def content(self) -> TrialContent:
        return TrialContent(self.as_row(), self.start, dict(self.times), self.ended, self.won)

    def as_row(self) -> Row:
        return replace(self.row, reports=self.reports[: self.count])


class Undelivered:
    """Runs with something new, oldest first; each is listed once, however often it changed. Safe for two threads.

    events: noted since the last `take`.
    """

    def __init__(self) -> None:
        self.events = 0
        self._rows: dict[str, RowNotes] = {}
        self._waiting: dict[str, StudyContent | None] = {}  # None: of a trial; its content is made when it is taken
        self._taken: dict[str, StudyContent | None] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Runs that wait or are being delivered."""
        with self._lock:
            return len(self._waiting.keys() | self._taken.keys())

    def note_study(self, content: StudyContent) -> None:
        with self._lock:
            self._note(content.key, content)

    def note_row(self, row: Row, waits: bool = True) -> None:
        """Note all of a row that has begun, has ended or is of an earlier session. waits: it is to be delivered."""
        at = now()
        begin = at - int(1000 * row.seconds)
        with self._lock:
            notes = self._rows.setdefault(row.key, RowNotes(row, begin))
            notes.row, notes.reports, notes.count = copy(row), row.reports, len(row.reports)
            notes.ended = (notes.ended or at) if row.outcome is not None else 0
            for report in row.reports:  # those that were not seen, at the times as if the last one was just now
                notes.times.setdefault(int(report["step"]), begin + int(1000 * report.get("seconds", 0)))
            if waits:
                self._note(row.key, None)

    def note_report(self, row: Row, report: dict[str, float]) -> None:
        """Note an evaluation of a row that was noted."""
        at = now()
        with self._lock:
            notes = self._rows[row.key]
            notes.reports, notes.count = row.reports, len(row.reports)
            notes.times[int(report["step"])] = at
            self._note(row.key, None)

    def note_winners(self, keys: Collection[str]) -> None:
        """Note which trials are the winners of their studies: one that becomes one, or was one, has something new."""
        with self._lock:
            for key, notes in self._rows.items():
                if notes.won != (key in keys):
                    notes.won = key in keys
                    self._note(key, None)

    def rows(self) -> list[Row]:
        """All noted rows as of their last events."""
        with self._lock:
            return [notes.as_row() for notes in self._rows.values()]

    def rows_without_outcome(self) -> list[Row]:
        """Noted rows whose end was not."""
        with self._lock:
            return [notes.as_row() for notes in self._rows.values() if notes.row.outcome is None]

    def take(self) -> list[RunContent]:
        """Everything that waits; `delivered` or `give_back` is to be called for each."""
        with self._lock:
            self.events = 0
            self._taken, self._waiting = self._waiting, {}
            return [content or self._rows[key].content() for key, content in self._taken.items()]

    def delivered(self, key: str) -> None:
        with self._lock:
            self._taken.pop(key, None)

    def give_back(self, *keys: str) -> None:
        """Put these, or all that was taken, first again; what has changed meanwhile, as it is now."""
        with self._lock:
            back = {key: self._taken.pop(key) for key in keys or tuple(self._taken)}
            self._waiting = back | self._waiting

    def _note(self, key: str, content: StudyContent | None) -> None:
        self.events += 1
        self._waiting[key] = content
