"""Trials and their values as people read them."""

from __future__ import annotations

from typing import Any

from platform.core.row import Row

__all__ = ["counted", "first_line", "number", "settings", "trial_name"]


def trial_name(row: Row) -> str:
    """#3, or #3 repeat 1."""
    return f"#{row.number}" + (f" repeat {row.repeat}" if row.repeat else "")


def settings(row: Row) -> str:
    """The searched values in one line."""
    return " ".join(f"{name}={number(value)}" for name, value in row.params.items())


def number(value: Any) -> str:
    """A hyper-parameter with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(count: int, noun: str) -> str:
    """1 repeat, 2 repeats."""
    return f"{count} {noun}{'s' * (count != 1)}"


def first_line(error: str) -> str:
    """An error in one line: the last line of a traceback that is not indented, else the first line."""
    lines = [line for line in error.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    heads = [line for line in lines if not line.startswith(" ") and not line.startswith("Traceback")]
    return (heads[-1] if lines[0].startswith("Traceback") and heads else lines[0]).strip()
