"""The table on disk: one JSON line per event of a trial, appended and synced by one writer; survives kill -9.

The first line says which sweep the file belongs to. A torn last line (the machine died while writing it) is cut off; of
a file that is damaged further up the part before counts, and a copy of the whole is kept.
Events become lines (`to_line`) and lines become events and rows again (`from_line`). Which rows run again is decided by
the driver.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import Any

from platform.core.errors import Problem, UserError
from platform.core.events import Event, Proposal, SweepEnded, TrialEnded, TrialProposed, TrialReported, TrialStarted
from platform.core.files import DISK_FULL, free_name, lock
from platform.core.redaction import public
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
"""Settings that decide how many rows there are, where they run and where they are recorded, and no result: a sweep goes
on with other values of these."""


@dataclass
class StudyHistory:
    """What earlier runs of a sweep left of one study: its rows by key, and its proposals, starts and ends in order."""

    rows: dict[str, Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Ledger:
    """Open for one driver at a time. A Listener: events become lines.

    complete: fills in the settings that the sweep file of an older version did not have.
    id: of this sweep, 12 hex digits; "" in a ledger of an older version. repaired: what was wrong with the file.
    rows: all rows of the sweep by key.
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
        self.id, self.repaired = secrets.token_hex(6), ""
        self._complete = complete
        self._history: list[Event] = []
        self._file = self._lock()
        lines = self._read()
        if lines:
            self._check_header(lines[0], resolved)
            if _without_login(lines[0]["resolved"]) != lines[0]["resolved"]:
                self._close_to_others()
            self.id = lines[0].get("id", "")
            events = (from_line(line, self.rows) for line in lines[1:])
            self._history = [event for event in events if not isinstance(event, TrialReported)]
        else:
            header = {"event": "sweep", "format": FORMAT, "id": self.id, "resolved": _without_login(resolved)}
            self._append(header)

    def by_study(self) -> dict[str, StudyHistory]:
        """What earlier runs left, by study; an empty history of a study that is new."""
        studies: dict[str, StudyHistory] = defaultdict(StudyHistory)
        for event in self._history:
            match event:
                case TrialProposed(study):
                    studies[study].events.append(event)
                case TrialStarted(row) | TrialEnded(row):
                    studies[row.study].events.append(event)
                case _:
                    pass
        for row in self.rows.values():
            studies[row.study].rows[row.key] = row
        return studies

    # -- events ------------------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        if isinstance(event, TrialStarted):
            self.rows[event.row.key] = event.row
        if (line := to_line(event)) is not None:
            self._append(line)
        if isinstance(event, SweepEnded):
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
        parsed, end = _parse(lines)
        if cut := lines[len(parsed) :]:
            self._repair(len(parsed), cut)
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)
        return parsed

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

    def _close_to_others(self) -> None:
        """Of a ledger of an older version, which wrote the tracking URI as it was typed: readable by its owner only."""
        self.path.chmod(0o600)
        warning = f"{self.path} holds the login of a tracking URI: only you can read it now; better change the password"
        self.repaired = "\n".join(part for part in (self.repaired, warning) if part)

    def _append(self, line: dict[str, Any]) -> None:
        text = memoryview(json.dumps(line, default=str).encode() + b"\n")
        end = self._file.seek(0, os.SEEK_END)
        while True:
            try:
                rest = text
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


def read_rows(path: Path) -> tuple[dict[str, Any], dict[str, Row]]:
    """The resolved sweep file and the rows by key, from a ledger that is neither locked nor changed.

    A torn last line counts as not written. Raises UserError where there is no ledger, or none of this format.
    """
    try:
        lines, _ = _parse(path.read_bytes().splitlines(keepends=True))
    except OSError as error:
        hint = "a sweep makes one: python -m platform.sweep SPACE.yaml"
        raise UserError(Problem(f"no ledger of a sweep: {error.strerror}", where=str(path), hint=hint)) from error
    header = lines[0] if lines else {}
    if header.get("format") != FORMAT or "resolved" not in header:
        message = f"not a ledger of this version (it reads format {FORMAT}, here is {header.get('format')})"
        raise UserError(Problem(message, where=str(path), hint="run the sweep anew: --fresh, or name=OTHER"))
    rows: dict[str, Row] = {}
    for line in lines[1:]:
        from_line(line, rows)
    return header["resolved"], rows


def _parse(lines: list[bytes]) -> tuple[list[dict[str, Any]], int]:
    """The lines up to the first torn one, and how many bytes they take."""
    parsed, end = [], 0
    for text in lines:
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not text.endswith(b"\n") or not isinstance(line, dict) or "event" not in line:
            break
        parsed.append(line)
        end += len(text)
    return parsed, end


# -- events and their lines --------------------------------------------------------------------------------------------

_STARTED = ("key", "method", "study", "seed", "number", "params")
_ENDED = ("outcome", "steps", "seconds", "score", "test_accuracy", "error")


def to_line(event: Event) -> dict[str, Any] | None:
    """The line of an event; None for the start and the end of a sweep, which have none."""
    match event:
        case TrialProposed(study, proposal):
            return {"event": "asked", "study": study, **proposal._asdict()}
        case TrialStarted(row):
            spec = {"spec": row.spec.model_dump(mode="json")}
            return {"event": "started", **_values(row, _STARTED), **spec, **_values(row, ("accumulate", "repeat"))}
        case TrialReported(row, report):
            return {"event": "reported", "key": row.key, "report": report}
        case TrialEnded(row):
            return {"event": "ended", "key": row.key, **_values(row, (*_ENDED, "accumulate"))}
        case _:
            return None


def from_line(line: dict[str, Any], rows: dict[str, Row]) -> Event:
    """The event of a line. rows: the table by key as the lines before it left it, which the event is applied to.

    The row of a TrialEnded is a copy: as it was then, whatever later attempts made of it.
    """
    match line["event"]:
        case "asked":
            return TrialProposed(line["study"], Proposal(**{k: line[k] for k in Proposal._fields if k in line}))
        case "started":
            row = rows[line["key"]] = _started(line, rows.get(line["key"]))
            return TrialStarted(row)
        case "reported":
            row, report = rows[line["key"]], line["report"]
            row.reports.append(report)
            row.steps, row.seconds = int(report.get("step", row.steps)), report.get("seconds", row.seconds)
            return TrialReported(row, report)
        case "ended":
            row = rows[line["key"]]
            for name in _ENDED:
                setattr(row, name, line[name])
            row.accumulate = line.get("accumulate", 1)
            row.failures += row.outcome in ATTEMPTED
            return TrialEnded(replace(row, reports=list(row.reports)))
        case other:
            raise ValueError(f"no such event in a ledger: {other!r}")


def _started(line: dict[str, Any], before: Row | None) -> Row:
    """The row of a trial that starts: one that goes on keeps its reports, a new attempt pays for earlier ones."""
    row = Row(**{name: line[name] for name in _STARTED}, spec=TrialSpec(**line["spec"]))
    row.accumulate, row.repeat = line.get("accumulate", 1), line.get("repeat", 0)
    if before is not None:
        anew = before.outcome in ATTEMPTED
        row.failures, row.earlier = before.failures, before.spent if anew else before.earlier
        row.reports = [] if anew else before.reports
    return row


def _without_login(resolved: dict[str, Any]) -> dict[str, Any]:
    """The resolved sweep file with its tracking URI as it may be shown."""
    tracking = resolved.get("tracking")
    return resolved | {"tracking": public(tracking)} if isinstance(tracking, str) else resolved


def _values(row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(allowed + ".") for allowed in _MAY_CHANGE)
