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
    """The whole number that `value` is or spells, of any size, else None."""
    try:
        if isinstance(value, (int, str)):
            return int(value)
    except ValueError:  # perhaps 1.0 or 1e3, or more digits than Python reads
        pass
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if math.isfinite(number) and number == int(number) else None


def name_classes(*columns: Iterable[Any]) -> tuple[str, ...]:
    """Class names made of the label values that occur: whole numbers by their size, else the words by the alphabet.

    A negative number is no class: `encode` refuses it.
    """
    values = {v.strip() if isinstance(v, str) else v for column in columns for v in column if not is_missing(v)}
    numbers = {as_number(v) for v in values}
    if None not in numbers:
        return tuple(str(n) for n in sorted(n for n in numbers if n is not None) if n >= 0)
    return tuple(sorted(set(map(str, values))))


def check_count(class_names: Sequence[str], images: int, stated: int | None, what: str, key: str, where: str) -> None:
    """Raise UserError where there are other than the `stated` classes, or, none stated, suspiciously many.

    More classes than a tenth of the images (and than 10) may be dates, ids or a measurement. what: the classes as the
    message calls them. images: those that have a label.
    """
    found, first = len(class_names), ", ".join(class_names[:5]) + (", ..." if len(class_names) > 5 else "")
    if stated is None and found > max(FEW, images / 10):
        message = f"{found:,} {what} for {images:,} images with a label: are these the classes?"
        raise UserError(Problem(message, key, where, f"the first: {first}\nif they are, say so: data.classes={found}"))
    if stated is not None and stated != found:
        message = f"{stated:,} classes are stated, there are {found:,} {what}"
        raise UserError(Problem(message, "data.classes", where, f"the first: {first}"))


FEW = 10
"""Classes that nobody is asked about, however few images there are."""


def encode(
    values: Sequence[Any], class_names: Sequence[str], column: str, where: str = "", numbered: bool = True
) -> np.ndarray:
    """[N] int64 class numbers, -1 where missing. A value is a class name, or else a class number.

    numbered: whether a whole number is a position in `class_names`; False where `name_classes` made them, which
    then has it as a name. Raises UserError naming the first bad values, their rows, and what is allowed.
    """
    positions = {name: i for i, name in enumerate(class_names)}
    codes: dict[Any, int] = {}
    labels = np.empty(len(values), dtype=np.int64)
    bad: dict[Any, list[int]] = {}
    for row, value in enumerate(values):
        if value not in codes or value != value:
            codes[value] = _encode_one(value, positions, numbered)
        labels[row] = codes[value]
        if labels[row] < -1:
            bad.setdefault(value, []).append(row)
    if bad:
        raise UserError(*(_bad_value(v, rows, class_names, column, where) for v, rows in list(bad.items())[:5]))
    return labels


def try_encode(values: Sequence[Any], class_names: Sequence[str], numbered: bool = True) -> np.ndarray | None:
    """Class numbers of a further column; None where it holds anything else. numbered: as for `encode`.

    Whole numbers that are no class are kept where they are positions, so that using the column can be refused by them.
    """
    present = [v for v in values if not is_missing(v)]
    if not present or any(isinstance(v, (bytes, dict, list)) for v in present):
        return None
    positions = {name: i for i, name in enumerate(class_names)}
    gaps = list(class_names) != [str(i) for i in range(len(class_names))]
    if not numbered and gaps and all(as_number(name) is not None for name in class_names):
        codes = {v: _encode_one(v, positions, numbered) for v in set(present)}
        return None if min(codes.values()) < -1 else np.array([codes.get(v, -1) for v in values], dtype=np.int64)
    by_name = all(isinstance(v, str) and v.strip() in positions for v in present)
    if not by_name and any((n := as_number(v)) is None or abs(n) >= 2**63 for v in set(present)):
        return None
    codes = {v: positions[v.strip()] if by_name else as_number(v) for v in set(present)}
    return np.array([-1 if is_missing(v) else codes[v] for v in values], dtype=np.int64)


def _encode_one(value: Any, positions: dict[str, int], numbered: bool) -> int:
    if is_missing(value):
        return -1
    if isinstance(value, str) and value.strip() in positions:
        return positions[value.strip()]
    number = as_number(value)
    if not numbered:
        return positions.get(str(value) if number is None or str(number) not in positions else str(number), -2)
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
