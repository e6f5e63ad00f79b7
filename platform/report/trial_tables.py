"""trials.csv and curves.parquet: rows and their evaluations as files, each replaced as a whole."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from platform.core.files import atomic
from platform.core.row import Row

TRIAL_COLUMNS = (
    "key",
    "method",
    "study",
    "seed",
    "outcome",
    "steps",
    "seconds",
    "score",
    "test_accuracy",
    "accumulate",
    "reason",
    "repeat",
    "parent",
)
CURVE_COLUMNS = (
    "key",
    "method",
    "study",
    "step",
    "seconds",
    "train_loss",
    "noisy_val_accuracy",
    "clean_val_accuracy",
    "val_clid",
    "test_accuracy",
)
_TEXT = ("key", "method", "study")


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside `path` and rename: a reader, also after a kill, sees the old file or the new one."""
    with atomic(path, sync=False) as temporary:
        write(temporary)


def replace_text(path: Path, text: str) -> None:
    replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def trial_record(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = {
        "key": row.key,
        "method": row.method,
        "study": row.study,
        "seed": row.seed,
        "outcome": row.outcome,
        "steps": row.steps,
        "seconds": round(row.spent, 3),
        "score": row.score,
        "test_accuracy": row.test_accuracy,
        "accumulate": row.accumulate,
        "reason": row.reason,
        "repeat": row.repeat,
        "parent": row.spec.parent,
    }
    return record | {f"hp.{name}": value for name, value in row.params.items()}


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def to_cell(value: Any) -> Any:
    """A value as a cell of a CSV file: text that a spreadsheet would run as a formula (=, +, -, @) gets an apostrophe.

    Numbers stay numbers, also those that are text. `from_cell` gives the text back.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value) else value


def from_cell(text: Any) -> Any:
    """The value whose cell this is."""
    return text[1:] if isinstance(text, str) and text.startswith("'") and _FORMULA.match(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write_trials(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Columns as TRIAL_COLUMNS, then hp.NAME of every searched value; an empty cell where a trial has none.

    Text as `to_cell` writes it.
    """
    records = list(records)
    searched = dict.fromkeys(name for record in records for name in record if name.startswith("hp."))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*TRIAL_COLUMNS, *searched], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: to_cell(value) for name, value in record.items()} for record in records)
    replace_text(path, text.getvalue())


def read_trials(path: Path) -> list[dict[str, Any]]:
    """Records of an earlier session as text, without empty cells and unknown columns; none of any other file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            records = [
                {k: from_cell(v) for k, v in record.items() if _known(k) and v != ""}
                for record in csv.DictReader(file)
                if record
            ]
    except (OSError, csv.Error, UnicodeDecodeError):
        return []
    return [record for record in records if "key" in record and "study" in record]


def _known(column: str | None) -> bool:
    return column in TRIAL_COLUMNS or (column or "").startswith("hp.")


def curve_records(row: Row) -> list[dict[str, Any]]:
    """One record per evaluation of a trial."""
    head = {"key": row.key, "method": row.method, "study": row.study}
    return [head | {k: v for k, v in report.items() if k != "evaluation"} for report in row.reports]


def write_curves(path: Path, records: list[dict[str, Any]]) -> None:
    """CURVE_COLUMNS, then loss/NAME, diag/NAME and what else was reported; NaN where a trial has none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    further = {name for record in records for name in record} - set(CURVE_COLUMNS)
    order = {"loss": 1, "diag": 2}
    names = [*CURVE_COLUMNS, *sorted(further, key=lambda name: (order.get(name.partition("/")[0], 0), name))]
    columns: dict[str, pa.Array] = {}
    for name in names:
        if name in _TEXT:
            columns[name] = pa.array([str(record[name]) for record in records], pa.string())
        elif name == "step":
            columns[name] = pa.array([int(record.get("step", 0)) for record in records], pa.int64())
        else:
            columns[name] = pa.array([_number(record.get(name)) for record in records], pa.float64())
    replace(path, lambda temporary: pq.write_table(pa.table(columns), temporary))


def read_curves(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        records = pq.read_table(path).to_pylist()
    except (OSError, ValueError, pa.ArrowException):
        return []
    return [record for record in records if "key" in record and "study" in record]


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
