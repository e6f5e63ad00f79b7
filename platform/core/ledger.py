"""The table on disk: one JSON line per event of a trial, appended and synced by one writer; survives kill -9.

The first line says which sweep the file belongs to and what its results depend on. Every line has a checksum. A torn
last line (the machine died while writing it) is cut off; lines that are damaged further up are taken out and named, and
a copy of the file as it was is kept. Which rows run again is decided by the driver.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from platform.core.errors import Problem, UserError
from platform.core.events import Event, SweepEnded, TrialEnded, TrialProposed, TrialReported, TrialStarted
from platform.core.files import DISK_FULL, atomic, free_name, lock
from platform.core.fingerprints import Fingerprints
from platform.core.ledger_lines import ATTEMPTED, FORMAT, LedgerContent, read_content, seal, to_line
from platform.core.redaction import public
from platform.core.row import Row

__all__ = ["ATTEMPTED", "FORMAT", "Ledger", "StudyHistory", "read_rows"]

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
    """The rows of one study from earlier runs of a sweep, by key, and its proposals, starts and ends in order."""

    rows: dict[str, Row] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Ledger:
    """Open for one driver at a time. A Listener: events become lines.

    complete: fills in the settings that the sweep file of an older version did not have. made_from: what the results of
    this run would depend on; None: not compared.
    id: of this sweep, 12 hex digits; "" in a ledger of an older version. repaired: what was wrong with the file.
    rows: all rows of the sweep by key. versions: of the libraries that made them, in the order of their use.
    Raises UserError when another process holds it, when it is of another format, when it belongs to another sweep, or
    when its rows were made from other code, data or labels.
    """

    def __init__(
        self,
        folder: Path,
        resolved: dict[str, Any],
        complete: Callable[[dict[str, Any]], dict[str, Any]] = lambda resolved: resolved,
        made_from: Fingerprints | None = None,
    ) -> None:
        self.path = folder / "ledger.jsonl"
        self.rows: dict[str, Row] = {}
        self.wait_for_room: Callable[[], bool] = lambda: False  # where the disk is full: True = try again
        self.id, self.repaired = secrets.token_hex(6), ""
        self.versions: list[dict[str, str]] = []
        self._complete, self._made_from = complete, made_from
        self._history: list[Event] = []
        self._held: list[FileIO] = []
        self._file = self._lock()
        try:
            self._open(resolved)
        except BaseException:
            self.close()
            raise

    def _open(self, resolved: dict[str, Any]) -> None:
        self._file.seek(0)
        content = read_content(self._file.read())
        if content.header is None:
            self._cut(content)
            made_from = {"made_from": self._made_from.to_json()} if self._made_from else {}
            self._append(
                {"event": "sweep", "format": FORMAT, "id": self.id, "resolved": _without_login(resolved), **made_from}
            )
            self.versions = [self._made_from.versions] if self._made_from else []
            return
        self._check_header(content, resolved)
        if content.damage:
            self._take_out(content)
        else:
            self._cut(content)
        if _without_login(content.header["resolved"]) != content.header["resolved"]:
            self._close_to_others()
        self.id, self.rows = content.header.get("id", ""), content.rows
        self._history = [event for event in content.events if not isinstance(event, TrialReported)]

    def by_study(self) -> dict[str, StudyHistory]:
        """The history that earlier runs left, by study; an empty one for a study that is new."""
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
            self._note_versions()
        if (line := to_line(event)) is not None:
            self._append(line)
        if isinstance(event, SweepEnded):
            self.close()

    def close(self) -> None:
        for file in (self._file, *self._held):
            if not file.closed:
                file.close()

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

    def _cut(self, content: LedgerContent) -> None:
        """Cut off a last line that was half written."""
        if content.torn:
            self.repaired = f"{self.path}: the last line was half written; it is cut off"
            self._file.truncate(content.whole)
        self._file.seek(0, os.SEEK_END)

    def _take_out(self, content: LedgerContent) -> None:
        """Keep a copy of the damaged file, and put one with the lines that count in its place."""
        name = free_name(lambda n: f"ledger.damaged-{n}.jsonl", lambda name: self.path.with_name(name).exists())
        shutil.copy(self.path, self.path.with_name(name))
        with atomic(self.path) as temporary:
            shutil.copy(self.path, temporary)  # its mode
            temporary.write_bytes(b"".join(text for text, _ in content.lines))
            file = open(temporary, "a+b", buffering=0)
            lock(file, wait=False)
        self._held, self._file = [self._file], file  # both are held: a second driver may have opened the first
        torn = "\nits last line was half written" if content.torn else ""
        kept = f"the file as it was is kept in {self.path.with_name(name)}"
        self.repaired = f"{_damage(self.path, content)}{torn}\n{kept}"

    def _note_versions(self) -> None:
        """Record the versions of the libraries that make trials from now on, where they are others than before."""
        if self._made_from and self._made_from.versions not in self.versions[-1:]:
            self.versions.append(self._made_from.versions)
            self._append({"event": "versions", "versions": self._made_from.versions})

    def _close_to_others(self) -> None:
        """Make a ledger with a login readable by its owner only: older versions wrote the tracking URI as typed."""
        self.path.chmod(0o600)
        warning = f"{self.path} holds the login of a tracking URI: only you can read it now; better change the password"
        self.repaired = "\n".join(part for part in (self.repaired, warning) if part)

    def _append(self, line: dict[str, Any]) -> None:
        text = memoryview(seal(line))
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

    def _check_header(self, content: LedgerContent, resolved: dict[str, Any]) -> None:
        folder, header = self.path.parent, content.header or {}
        go_on = f"keep both: name=OTHER        start anew: --fresh (moves {folder} aside)"
        if not content.header_counts:
            raise _damaged_header(self.path)
        if (written := header.get("format")) != FORMAT:
            older = isinstance(written, int) and written < FORMAT
            what = "an older version, which gave trials other keys" if older else "another version"
            message = f"{folder} holds a sweep of {what} (ledger format {written}; this version writes {FORMAT})"
            raise UserError(Problem(message, hint=f"{go_on}; its tables and figures can be read as they are"))
        try:
            made_from = Fingerprints.from_json(header["made_from"]) if "made_from" in header else None
            old = _flat(self._complete(header["resolved"]))
        except (UserError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _damaged_header(self.path) from error
        new = _flat(self._complete(json.loads(json.dumps(resolved, default=str))))
        changed = [k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k) and not _may_change(k)]
        if changed:
            lines = [f"{k}: {old.get(k, 'not set')} -> {new.get(k, 'not set')}" for k in changed]
            message = f"{folder} holds a sweep with other settings, and results must not mix"
            raise UserError(Problem(message, hint="\n".join([*lines, go_on])))
        self.versions = [*([made_from.versions] if made_from else []), *content.versions]
        if self._made_from and (lines := self._made_from.differences(made_from, list(content.rows.values()))):
            message = f"{folder} holds a sweep of other code, data or labels, and results must not mix"
            holds = "what is there holds for what it was made from; put that back, and the sweep goes on"
            raise UserError(Problem(message, hint="\n".join([*lines, holds, go_on])))


def read_rows(
    path: Path, notify: Callable[[str], None] = lambda text: print(text, file=sys.stderr)
) -> tuple[dict[str, Any], dict[str, Row]]:
    """The resolved sweep file and the rows by key, from a ledger that is neither locked nor changed.

    A torn last line counts as not written. notify: is told of lines that are damaged, which do not count.
    Raises UserError where there is no ledger, or none of this format.
    """
    try:
        content = read_content(path.read_bytes())
    except OSError as error:
        hint = "a sweep makes one: python -m platform.sweep SPACE.yaml"
        raise UserError(Problem(f"no ledger of a sweep: {error.strerror}", where=str(path), hint=hint)) from error
    header = content.header or {}
    if not content.header_counts:
        raise _damaged_header(path)
    if header.get("format") != FORMAT:
        message = f"not a ledger of this version (it reads format {FORMAT}, here is {header.get('format')})"
        raise UserError(Problem(message, where=str(path), hint="run the sweep anew: --fresh, or name=OTHER"))
    if content.damage:
        notify(_damage(path, content))
    return header["resolved"], content.rows


SHOWN = 5
"""Damaged lines that are named one by one."""


def _damage(path: Path, content: LedgerContent) -> str:
    lines = [f"{path}:{text}" for text in content.damage[:SHOWN]]
    if more := len(content.damage) - SHOWN:
        lines += [f"... and {more} more"] if more > 0 else []
    return "\n".join([f"{path} is damaged; these lines do not count, and what they said is lost:", *lines])


def _damaged_header(path: Path) -> UserError:
    hint = "look at it, put a copy back, or start anew: --fresh (moves the folder aside)"
    return UserError(Problem("the first line of the ledger is damaged; nothing was changed", f"{path}:1", hint=hint))


def _without_login(resolved: dict[str, Any]) -> dict[str, Any]:
    """The resolved sweep file with its tracking URI as it may be shown."""
    tracking = resolved.get("tracking")
    return resolved | {"tracking": public(tracking)} if isinstance(tracking, str) else resolved


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree}
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(allowed + ".") for allowed in _MAY_CHANGE)
