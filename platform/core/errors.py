"""Errors a user can act on: what, where, what was expected, the nearest valid name, the next command."""

from __future__ import annotations

from dataclasses import dataclass

from platform.core.files import printable
from platform.core.invocation import as_called
from platform.core.plugins import did_you_mean, nearest
from platform.core.redaction import redact

__all__ = ["Problem", "UserError", "did_you_mean", "nearest"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `where: key: message`, then an indented hint; as text without the secrets of URIs."""

    message: str
    key: str = ""
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        head = ": ".join(part for part in (self.where, self.key, self.message) if part)
        return as_called(redact(head) + "".join(f"\n    {redact(line)}" for line in self.hint.splitlines()))


class UserError(Exception):
    """Bad input, with every problem found. Doors print it and exit with code 2."""

    def __init__(self, *problems: Problem | str, closing: str = "nothing was started") -> None:
        self.closing = closing
        self.problems = [Problem(p) if isinstance(p, str) else p for p in problems]
        super().__init__("\n".join(map(str, self.problems)))

    def render(self, closing: str = "") -> str:
        """All problems as they are printed, characters that would steer a terminal as escapes."""
        count = len(self.problems)
        lines = "\n".join(printable(line) for line in str(self).expandtabs(4).split("\n"))
        return f"{lines}\n{count} error{'s' * (count != 1)}; {closing or self.closing}."
