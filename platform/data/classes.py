"""Conversion of label values (numbers, names, nothing) to class numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from platform.core.errors import Problem, UserError, did_you_mean


def is_missing(value: Any) -> bool:
    """Whether `value` says that there is no label: None, an empty field, NaN or -1."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return value == -1 or (isinstance(value, str) and value.strip() in ("", "-1"))


def as_number(value: Any) -> int | None:
    """The whole number that `value` is or spells, else None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


def name_classes(*columns: Iterable[Any]) -> tuple[str, ...]:
    """Class names made of label values: "0" to the largest where all are whole numbers, else the words, sorted."""
    values = {v.strip() if isinstance(v, str) else v for column in columns for v in column if not is_missing(v)}
    numbers = [as_number(v) for v in values]
    if all(n is not None and n >= 0 for n in numbers):
        return tuple(map(str, range(max((n for n in numbers if n is not None), default=-1) + 1)))
    return tuple(sorted(map(str, values)))


def encode(values: Sequence[Any], class_names: Sequence[str], column: str, where: str = "") -> np.ndarray:
    """[N] int64 class numbers, -1 where missing. A value is a class name or a class number, in this order.

    Raises UserError naming the first bad values, their rows, and what is allowed.
    """
    positions = {name: i for i, name in enumerate(class_names)}
    codes: dict[Any, int] = {}
    labels = np.empty(len(values), dtype=np.int64)
    bad: dict[Any, list[int]] = {}
    for row, value in enumerate(values):
        if value not in codes or value != value:
            codes[value] = _encode_one(value, positions)
        labels[row] = codes[value]
        if labels[row] < -1:
            bad.setdefault(value, []).append(row)
    if bad:
        raise UserError(*(_bad_value(v, rows, class_names, column, where) for v, rows in list(bad.items())[:5]))
    return labels


def try_encode(values: Sequence[Any], class_names: Sequence[str]) -> np.ndarray | None:
    """Class numbers of a further column, whole numbers of any size included; None where it holds anything else."""
    present = [v for v in values if not is_missing(v)]
    if not present or any(isinstance(v, (bytes, dict, list)) for v in present):
        return None
    positions = {name: i for i, name in enumerate(class_names)}
    by_name = all(isinstance(v, str) and v.strip() in positions for v in present)
    if not by_name and any(as_number(v) is None for v in present):
        return None
    codes = {v: positions[v.strip()] if by_name else as_number(v) for v in set(present)}
    return np.array([-1 if is_missing(v) else codes[v] for v in values], dtype=np.int64)


def _encode_one(value: Any, positions: dict[str, int]) -> int:
    if is_missing(value):
        return -1
    if isinstance(value, str) and value.strip() in positions:
        return positions[value.strip()]
    number = as_number(value)
    return number if number is not None and 0 <= number < len(positions) else -2


def _bad_value(value: Any, rows: list[int], class_names: Sequence[str], column: str, where: str) -> Problem:
    times = f"row {rows[0]}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")
    if as_number(value) is not None:
        message = f"label {value} in column '{column}' ({times}) is out of range: there are {len(class_names)} classes"
        hint = f"allowed: 0 to {len(class_names) - 1}, a class name, or -1 / nothing for no label"
    else:
        message = f"'{value}' in column '{column}' ({times}) is no class name"
        hint = did_you_mean(str(value), class_names)
    return Problem(message, "data.label_column", where, hint)
