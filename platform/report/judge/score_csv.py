"""Scores as a plain CSV file: method, study, seed, score, cost. How numbers of other tools come into a comparison.

score: what methods are compared by, an accuracy in [0, 1] or any number of which higher is better; empty = no result.
cost: device-seconds of the study's whole tuning, the same in all its lines; may be empty. Lines of one method and study
with several seeds are its repeats.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from platform.core.errors import Problem, UserError
from platform.core.files import atomic

COLUMNS = ("method", "study", "seed", "score", "cost")


@dataclass(frozen=True)
class ScoreLine:
    """One line; score and cost None where they are empty."""

    method: str
    study: str
    seed: str
    score: float | None
    cost: float | None


def write_scores(path: Path, lines: Iterable[ScoreLine]) -> None:
    """Numbers are written so that they are read back to the bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        numbers = ["" if value is None else repr(value) for value in (line.score, line.cost)]
        writer.writerow([line.method, line.study, line.seed, *numbers])
    with atomic(path, sync=False) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def read_scores(path: Path) -> list[ScoreLine]:
    """Raises UserError with every line that is wrong."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Problem(f"cannot be read: {error}", where=str(path))) from error
    table = csv.DictReader(io.StringIO(text))
    missing = [name for name in COLUMNS[:-1] if name not in (table.fieldnames or [])]
    if missing:
        hint = f"its first line has to be: {','.join(COLUMNS)}"
        raise UserError(Problem(f"no column {', '.join(missing)}", where=f"{path}:1", hint=hint))
    found: list[ScoreLine] = []
    problems: list[Problem] = []
    for number, record in enumerate(table, start=2):
        try:
            found.append(_line(record))
        except ValueError as error:
            problems.append(Problem(str(error), where=f"{path}:{number}"))
    names = [(line.method, line.study, line.seed) for line in found]
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    problems += [Problem(f"method, study and seed occur twice: {', '.join(name)}", where=str(path)) for name in twice]
    if not found and not problems:
        problems = [Problem("no scores in it", where=str(path))]
    if problems:
        raise UserError(*problems)
    return found


def _line(record: dict[str, str | None]) -> ScoreLine:
    method, study, seed = ((record.get(name) or "").strip() for name in COLUMNS[:3])
    if not method:
        raise ValueError("no method")
    return ScoreLine(method, study or "0", seed or "0", _number(record, "score"), _number(record, "cost"))


def _number(record: dict[str, str | None], name: str) -> float | None:
    text = (record.get(name) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{name}: {text} is not a finite number; leave it empty where there is no result")
    return value
