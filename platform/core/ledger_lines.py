"""The lines of a ledger: an event as JSON with a checksum, and back; lines that cannot count are named with the reason.

A line is one JSON object whose last field, `crc`, is the CRC-32 of the line without it. A line counts if its checksum
holds, its fields have their types, the key of a row is the hash of its settings, and what it reports is of a trial that
is under way by the lines before it. Any other one is left out, and only its event is lost; what a trial reported whose
start was lost has no settings to stand beside, is named too, and is sent or made again.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from platform.core.events import Event, Proposal, TrialEnded, TrialProposed, TrialReported, TrialStarted
from platform.core.row import Outcome, Row
from platform.core.spec import TrialSpec, branch_point

__all__ = ["ATTEMPTED", "FORMAT", "LedgerContent", "read_content", "seal", "to_line"]

FORMAT = 2
ATTEMPTED = ("failed", "diverged")
"""Outcomes that `retry:` may try again, from the start; completed and pruned trials never, preempted ones go on."""

_WHOLE = re.compile(rb'(.*), "crc": "([0-9a-f]{8})"\}', re.DOTALL)
_JOINED = re.compile(rb'(?<="\}).(?=\{"event": )', re.DOTALL)
"""Between two lines whose line break was damaged."""


# -- the checksum ------------------------------------------------------------------------------------------------------


def seal(line: dict[str, Any]) -> bytes:
    """The bytes of a line, checksum and line break included."""
    body = json.dumps(line, default=str).encode()[:-1]
    return body + b', "crc": "%08x"}\n' % zlib.crc32(body)


def _unseal(text: bytes) -> dict[str, Any]:
    """The line of its bytes, without a line break. Raises ValueError with the reason where it is none."""
    whole = _WHOLE.fullmatch(text)
    if whole is None or int(whole[2], 16) != zlib.crc32(whole[1]):
        raise ValueError("its checksum does not match" if whole else "it is no line of a ledger with a checksum")
    line = _parsed(whole[1] + b"}")
    if line is None:
        raise ValueError("it is no event")
    return line


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and isinstance(line.get("event"), str) else None


# -- the whole file ----------------------------------------------------------------------------------------------------


@dataclass
class LedgerContent:
    """Content of a ledger. rows: by key, as the events left them. versions: of libraries, in the order of their use.

    header: the first line; None in an empty file, or where it was never written whole. header_counts: whether its
    checksum holds. lines: those that count, with their events. damage: of the others, "LINE: what is wrong".
    whole: bytes up to a last line that was half written. torn: whether there is one.
    """

    header: dict[str, Any] | None = None
    header_counts: bool = True
    rows: dict[str, Row] = field(default_factory=dict)
    versions: list[dict[str, str]] = field(default_factory=list)
    lines: list[tuple[bytes, Event | None]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    whole: int = 0
    torn: bool = False

    @property
    def events(self) -> list[Event]:
        return [event for _, event in self.lines if event is not None]


def read_content(data: bytes) -> LedgerContent:
    """Read a ledger, whatever its bytes are. A last line without a line break counts as not written."""
    content = LedgerContent(whole=data.rfind(b"\n") + 1)
    content.torn = content.whole < len(data)
    lines = data[: content.whole].split(b"\n")[:-1]
    if not lines:
        return content
    _read_header(lines[0], content)
    if not content.header_counts or content.header is None or content.header["format"] != FORMAT:
        return content
    for number, text in enumerate(lines[1:], 2):
        parts = _JOINED.split(text)
        if len(parts) > 1:
            content.damage.append(f"{number}: a line break in it was damaged")
        for part in parts:
            try:
                event = _apply(_unseal(part), content)
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
                content.damage.append(f"{number}: {_reason(error)}")
            else:
                content.lines.append((part + b"\n", event))
    if content.damage:
        _cut_at_gaps(content)
    return content


def _read_header(text: bytes, content: LedgerContent) -> None:
    try:
        header = _unseal(text)
    except ValueError:
        header = _parsed(text) or {}
        other = isinstance(written := header.get("format"), int) and written != FORMAT and "crc" not in header
        content.header, content.header_counts = header, other  # a ledger of another format is named as such
    else:
        kinds = ((header.get("format"), int), (header.get("id", ""), str), (header.get("resolved"), dict))
        content.header, content.header_counts = header, all(isinstance(value, kind) for value, kind in kinds)
    content.lines.append((text + b"\n", None))


def _cut_at_gaps(content: LedgerContent) -> None:
    """Leave out what a trial that is under way reported after a lost evaluation: it sends all of them again."""
    dropped: set[int] = set()
    for row in content.rows.values():
        first = branch_point(row.spec.parent)[1] + 1
        good = 0
        while good < len(row.reports) and row.reports[good].get("evaluation", first + good) == first + good:
            good += 1
        if _under_way(row) and good < len(row.reports):
            dropped |= {id(report) for report in row.reports[good:]}
            row.reports = row.reports[:good]
            _note_last(row)
            content.damage.append(f"trial {row.key}: its evaluations from {first + good} on are made or sent again")
    content.lines = [
        (text, event)
        for text, event in content.lines
        if not (isinstance(event, TrialReported) and id(event.report) in dropped)
    ]


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


# -- events and their lines --------------------------------------------------------------------------------------------

_STARTED = ("key", "method", "study", "seed", "number", "params")
_ENDED = ("outcome", "steps", "seconds", "score", "test_accuracy", "error")


class _Line(BaseModel):
    """The types of a line's fields; what has a default may be missing."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class _AskedLine(_Line):
    study: str
    params: dict[str, Any]
    key: str
    known: bool = False
    values: list[float | None] | None = None
    parent: str = ""
    replaces: str = ""


class _StartedLine(_Line):
    key: str
    method: str
    study: str
    seed: int
    number: int
    params: dict[str, Any]
    spec: dict[str, Any]
    accumulate: int = 1
    repeat: int = 0


class _ReportedLine(_Line):
    key: str
    report: dict[str, float | None]


class _EndedLine(_Line):
    key: str
    outcome: Outcome
    steps: int
    seconds: float
    score: float | None
    test_accuracy: float | None
    error: str
    accumulate: int = 1


class _VersionsLine(_Line):
    versions: dict[str, str]


_TYPES: dict[str, type[_Line]] = {
    "asked": _AskedLine,
    "started": _StartedLine,
    "reported": _ReportedLine,
    "ended": _EndedLine,
    "versions": _VersionsLine,
}


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


def _apply(line: dict[str, Any], content: LedgerContent) -> Event | None:
    """The event of a line, applied to the table as the lines before left it; None for a line without one.

    The row of a TrialEnded is a copy: as it was then, whatever later attempts made of it. Raises before it changes
    anything: ValueError with the reason where the line cannot count.
    """
    if (kind := line["event"]) not in _TYPES:
        raise ValueError(f"no such event in a ledger: {kind!r}")
    _TYPES[kind].model_validate(line)
    rows = content.rows
    match kind:
        case "versions":
            content.versions.append(line["versions"])
            return None
        case "asked":
            return TrialProposed(line["study"], Proposal(**{k: line[k] for k in Proposal._fields if k in line}))
        case "started":
            row = rows[line["key"]] = _started(line, rows.get(line["key"]))
            return TrialStarted(row)
        case "reported":
            return _reported(_running(line, rows), line["report"])
        case _:
            row = _running(line, rows)
            for name in _ENDED:
                setattr(row, name, line[name])
            row.accumulate = line.get("accumulate", 1)
            row.failures += row.outcome in ATTEMPTED
            return TrialEnded(replace(row, reports=list(row.reports)))


def _under_way(row: Row) -> bool:
    return row.outcome in (None, "preempted")


def _running(line: dict[str, Any], rows: dict[str, Row]) -> Row:
    """The row that a report or an end is of. A preempted one goes on also where the line of its new start is lost."""
    row = rows.get(line["key"])
    if row is None or not _under_way(row):
        raise ValueError(f"trial {line['key']} is not under way by the lines that count before it")
    return row


def _started(line: dict[str, Any], before: Row | None) -> Row:
    """The row of a trial that starts: one that goes on keeps its reports, a new attempt pays for earlier ones."""
    row = Row(**{name: line[name] for name in _STARTED}, spec=TrialSpec(**line["spec"]))
    if row.spec.key != row.key:
        raise ValueError(f"its key {row.key} is not the hash of its settings, which is {row.spec.key}")
    branch_point(row.spec.parent)
    row.accumulate, row.repeat = line.get("accumulate", 1), line.get("repeat", 0)
    if before is not None:
        anew = before.outcome in ATTEMPTED
        row.failures, row.earlier = before.failures, before.spent if anew else before.earlier
        row.reports = [] if anew else before.reports
    return row


def _reported(row: Row, report: dict[str, float]) -> TrialReported:
    steps, seconds = int(report.get("step", row.steps)), float(report.get("seconds", row.seconds))
    if row.reports and report.get("evaluation", math.inf) <= row.reports[-1].get("evaluation", -math.inf):
        row.failures, row.earlier, row.reports = row.failures + 1, row.spent, []  # the end of an attempt before is lost
    row.reports.append(report)
    row.steps, row.seconds = steps, seconds
    return TrialReported(row, report)


def _note_last(row: Row) -> None:
    last = row.reports[-1] if row.reports else {}
    row.steps, row.seconds = int(last.get("step", 0)), last.get("seconds", 0.0)


def _values(row: Row, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
