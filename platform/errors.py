"""Errors a user can act on: what, where, what was expected, the nearest valid name, the next command."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `where: key: message`, then an indented hint."""

    message: str
    key: str = ""
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.where, self.key, self.message) if part)
        return head + "".join(f"\n    {line}" for line in self.hint.splitlines())


class UserError(Exception):
    """Bad input, with every problem found. Doors print it and exit with code 2."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = [Problem(p) if isinstance(p, str) else p for p in problems]
        super().__init__("\n".join(map(str, self.problems)))

    def render(self, closing: str = "nothing was started") -> str:
        count = len(self.problems)
        return f"{self}\n{count} error{'s' * (count != 1)}; {closing}."


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name closest to `name`, or None when nothing is close."""
    matches = difflib.get_close_matches(name.lower(), {v.lower(): v for v in valid}, n=1, cutoff=0.6)
    return next((v for v in valid if v.lower() == matches[0]), None) if matches else None


def did_you_mean(name: str, valid: Iterable[str], command: str = "") -> str:
    """Hint text: the nearest name (or the whole list when none is near) and the command that lists all."""
    valid = list(valid)
    near = nearest(name, valid)
    text = f"did you mean: {near}" if near else f"valid: {', '.join(valid)}"
    return f"{text}        ({command} lists all)" if command else text
