"""Durations as people read them."""

from __future__ import annotations


def clock(seconds: float | None) -> str:
    """1:05, 12:00, 3:07:00; ? where nothing is known."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
