"""The table on disk: one JSON line per event of a trial, appended and synced by one writer; survives kill -9.

The first line says which sweep the file belongs to. A torn last line (the machine died while writing it) is cut off; of
a file that is damaged further up the part before counts, and a copy of the whole is kept.
Which rows run again is the bench's to say; a row's lines add up to one `Row` (platform/core/row.py).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

from platform.core.errors import Problem, UserError
from platform.core.events import Event, SweepEnded, TrialEnded, TrialProposed, TrialReported, TrialStarted
from platform.core.files import DISK_FULL, free_name, lock
from platform.core.row import Row
from platform.core.spec import TrialSpec

FORMAT = 2
ATTEMPTED = ("failed", "diverged")
"""Outcomes that `retry:` may try again, from the start; completed and pruned trials never, preempted ones go on."""

_MAY_CHANGE = (
    *(f"budget.{name}" for name in ("trials", "studies", "repeats", "seconds", "preset")),
    "resources",
    "retry",
    "watch",
    "tracking",
)
"""What only decides how many rows there are, where they run and who is told; a changed one continues the sweep."""


class Ledger:
    """Open for one driver at a time. A Listener: events become lines.

    complete: fills in the settings that the sweep file of an older version did not have.
    id: of this sweep, 12 hex digits; "" in a ledger of an older version. repaired: what was wrong with the file.
    history: what was asked, started and ended by earlier runs, in order; what the search knew when it proposed a row.
    Raises UserError when another process holds it, when it is of another format, or when it belongs to another sweep.
    """

    def __init__(
        self,
        folder: Path,
        resolved: dict[str, Any],
        complete: Callable[[dict[str, Any]], dict[str, Any]] = lambda resolved: resolved,
    ) -> None:
        self.path = folder / "ledger.jsonl"
        self.rows: dict[str, Row] = {}
        self.wait_for_room: Callable[[], bool] = lambda: False  # where the disk is full: True = try again
        self.history: list[dict[str, Any]] = []
        self.id, self.repaired = secrets.token_hex(6), ""
        self._complete = complete
        self._file = self._lock()
        events = self._read()
        if events:
            self._check_header(events[0], resolved)
            self.id = events[0].get("id", "")
            self.history = [event for event in events[1:] if event["event"] in ("asked", "started", "ended")]
            for event in events[1:]:
                _replay(self.rows, event)
        else:
            self._append({"event": "sweep", "format": FORMAT, "id": self.id, "resolved": resolved})

    # -- events ------------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        match event:
            case TrialStarted(row):
                self._trial_started(row)
            case TrialReported(row, report):
                self._trial_reported(row, report)
            case TrialEnded(row):
                self._trial_ended(row)
            case SweepEnded(rows):
                self._sweep_ended(rows)
            case TrialProposed(study, proposal):
                self._append({"event": "asked", "study": study, **proposal})
            case _:
                pass

    def _trial_started(self, row: Row) -> None:
        self.rows[row.key] = row
        self._append(
            {
                "event": "started",
                "key": row.key,
                "method": row.method,
                "study": row.study,
                "seed": row.seed,
                "number": row.number,
                "params": row.params,
                "spec": row.spec.model_dump(mode="json"),
                "accumulate": row.accumulate,
                "repeat": row.repeat,
            }
        )

    def _trial_reported(self, row: Row, report: dict[str, float]) -> None:
        self._append({"event": "reported", "key": row.key, "report": report})

    def _trial_ended(self, row: Row) -> None:
        ended = {name: getattr(row, name) for name in (*_ENDED, "accumulate")}
        self._append({"event": "ended", "key": row.key, **ended})

    def _sweep_ended(self, rows: list[Row]) -> None:
        self.close()

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()

    # -- the file ----------------------------------------------------------------------------------------------------

    def _lock(self) -> FileIO:
        file = open(self.path, "a+b", buffering=0)  # held open as long as the driver lives: it is the lock
        if not lock(file, wait=False):
            holder = self._pid_file.read_text().strip() if self._pid_file.exists() else "unknown"
            file.close()
            raise UserError(
                Problem(
                    f"another sweep is running in {self.path.parent} (process {holder})",
                    hint="wait for it, stop it, or give this one another name: name=OTHER",
                )
            )
        self._pid_file.write_text(f"{os.getpid()}\n")
        return file

    @property
    def _pid_file(self) -> Path:
        return self.path.with_suffix(".pid")

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        lines = self._file.readlines()
        events, end = _events(lines)
        if cut := lines[len(events) :]:
            self._repair(len(events), cut)
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)
        return events

    def _repair(self, good: int, cut: list[bytes]) -> None:
        """Say what is cut off. More than half a line is no torn write: something damaged the file, so it is kept."""
        self.repaired = f"{self.path}: the last line was half written; it is cut off"
        if len(cut) == 1 and not cut[0].endswith(b"\n"):
            return
        where = f"{self.path}:{good + 1}"
        if good == 0:
            self._file.close()
            hint = "look at it, put a copy back, or start anew: --fresh (moves the folder aside)"
            raise UserError(Problem("the first line of the ledger is damaged; nothing was changed", where, hint=hint))
        name = free_name(lambda n: f"ledger.damaged-{n}.jsonl", lambda name: self.path.with_name(name).exists())
        aside = self.path.with_name(name)
        shutil.copyfile(self.path, aside)
        self.repaired = f"{where}: damaged; the {good} lines before it count, the file as it was is kept in {aside}"

    def _append(self, event: dict[str, Any]) -> None:
        line = memoryview(json.dumps(event, default=str).encode() + b"\n")
        end = self._file.seek(0, os.SEEK_END)
        while True:
            try:
                rest = line
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
                return
            except OSError as error:  # a full disk: half a line must not stand before the next one
                self._file.truncate(end)
                if error.errno not in DISK_FULL or not self.wait_for_room():
                    raise

    def _check_header(self, header: dict[str, Any], resolved: dict[str, Any]) -> None:
        folder = self.path.parent
        if (written := header.get("format")) != FORMAT:
            older = isinstance(written, int) and written < FORMAT
            what = "an older version, which gave trials other keys" if older else "another version"
            raise UserError(
                Problem(
                    f"{folder} holds a sweep of {what} (ledger format {written}; this version writes {FORMAT})",
                    hint=f"keep both: name=OTHER        start anew: --fresh (moves {folder} aside); "
                    "its tables and figures can be read as they are",
                )
            )
        old, new = (
            _flat(self._complete(json.loads(json.dumps(r, default=str)))) for r in (header["resolved"], resolved)
        )
        changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k) and not _may_change(k)]
        if changed:
            lines = [f"{k}: {old.get(k, 'not set')} -> {new.get(k, 'not set')}" for k in changed]
            raise UserError(
                Problem(
                    f"{folder} holds a sweep with other settings, and results must not mix",
                    hint="\n".join(
                        [*lines, f"keep both: name=OTHER        start anew: --fresh (moves {folder} aside)"]
                    ),
                )
            )


_ENDED = ("outcome", "steps", "seconds", "score", "test_accuracy", "error")


def read_rows(path: Path) -> tuple[dict[str, Any], dict[str, Row]]:
    """The resolved sweep file and the rows by key, from a ledger that is neither locked nor changed.

    A torn last line counts as not written. Raises UserError where there is no ledger, or none of this format.
    """
    try:
        events, _ = _events(path.read_bytes().splitlines(keepends=True))
    except OSError as error:
        hint = "a sweep makes one: python -m platform.sweep SPACE.yaml"
        raise UserError(Problem(f"no ledger of a sweep: {error.strerror}", where=str(path), hint=hint)) from error
    header = events[0] if events else {}
    if header.get("format") != FORMAT or "resolved" not in header:
        message = f"not a ledger of this version (it reads format {FORMAT}, here is {header.get('format')})"
        raise UserError(Problem(message, where=str(path), hint="run the sweep anew: --fresh, or name=OTHER"))
    rows: dict[str, Row] = {}
    for event in events[1:]:
        _replay(rows, event)
    return header["resolved"], rows


def _events(lines: list[bytes]) -> tuple[list[dict[str, Any]], int]:
    """The events up to the first torn line, and how many bytes they take."""
    events, end = [], 0
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(event, dict) or "event" not in event:
            break
        events.append(event)
        end += len(line)
    return events, end


def _replay(rows: dict[str, Row], event: dict[str, Any]) -> None:
    key = event["key"]
    if event["event"] == "started":
        fields = {name: event[name] for name in ("key", "method", "study", "seed", "number", "params")}
        before = rows.get(key)
        reports = before.reports if before and before.outcome not in ATTEMPTED else []
        spec, failures = TrialSpec(**event["spec"]), before.failures if before else 0
        rows[key] = Row(**fields, spec=spec, reports=reports, failures=failures)
        rows[key].accumulate = event.get("accumulate", 1)
        rows[key].repeat = event.get("repeat", 0)
        if before:
            rows[key].earlier = before.spent if before.outcome in ATTEMPTED else before.earlier
    elif event["event"] == "reported":
        row, report = rows[key], event["report"]
        row.reports.append(report)
        row.steps, row.seconds = int(report.get("step", row.steps)), report.get("seconds", row.seconds)
    elif event["event"] == "ended":
        for name in _ENDED:
            setattr(rows[key], name, event[name])
        rows[key].accumulate = event.get("accumulate", 1)
        rows[key].failures += event["outcome"] in ATTEMPTED


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(allowed + ".") for allowed in _MAY_CHANGE)
