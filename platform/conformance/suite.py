"""The suite of checks of a method: each check has a name, and says what fails and how to correct it."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from methods.base import Method
from platform.core.registry import METHODS

__all__ = ["CHECKS", "Check", "Failed", "Result", "Skipped", "Subject", "check", "run"]

Status = Literal["ok", "failed", "skipped"]


class Failed(Exception):
    """A check fails: what was observed, and how to correct it."""

    def __init__(self, message: str, advice: str) -> None:
        super().__init__(message)
        self.message, self.advice = message, advice


class Skipped(Exception):
    """A check does not apply, with the reason."""


@dataclass(frozen=True)
class Subject:
    """The method under test. `file` is where its class is written."""

    name: str
    cls: type[Method]
    file: Path

    @classmethod
    def of(cls, name: str) -> Subject:
        """Find a method by name or by path of a plug-in file. Raises UnknownPlugin or BrokenPlugin."""
        found = METHODS.get(name)
        return cls(name, found, Path(sys.modules[found.__module__].__file__ or name))

    def hyper(self, **values: Any) -> dict[str, Any]:
        """`values`, and a low threshold where the method has one, so that pseudo-labels are used after a few steps."""
        fields = self.cls.Hyper.model_fields
        return ({"threshold": 0.6} if "threshold" in fields else {}) | {k: v for k, v in values.items() if k in fields}


@dataclass(frozen=True)
class Check:
    """`run(subject)` returns a note for the report, or raises Failed or Skipped. quick: milliseconds, on a toy."""

    name: str
    what: str
    run: Callable[[Subject], str | None]
    quick: bool


@dataclass(frozen=True)
class Result:
    check: Check
    status: Status
    message: str = ""
    advice: str = ""
    seconds: float = 0.0


CHECKS: dict[str, Check] = {}
"""In the order in which they run: quick ones first."""


def check(what: str, quick: bool = True) -> Callable[[Callable[[Subject], str | None]], Callable[..., str | None]]:
    """Register a function in the suite under its own name. `what` is true of a method that passes."""

    def register(function: Callable[[Subject], str | None]) -> Callable[[Subject], str | None]:
        name = function.__name__
        CHECKS[name] = Check(name, what, function, quick)
        return function

    return register


def run(name: str, subject: Subject) -> Result:
    """Run one check. What the method itself raises is a failure, shown with the method's own lines."""
    found, begin = CHECKS[name], time.perf_counter()
    status: Status = "ok"
    message = advice = ""
    try:
        message = found.run(subject) or ""
    except Skipped as reason:
        status, message = "skipped", str(reason)
    except Failed as failure:
        status, message, advice = "failed", failure.message, failure.advice
    except Exception as error:
        status, message = "failed", own_lines(error, subject.file)
        advice = "the method raised this by itself: mend the line named above"
    return Result(found, status, message, advice, time.perf_counter() - begin)


def own_lines(error: BaseException, file: Path) -> str:
    """The error, and the last lines of the method's file in its traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == file.name]
    where = "".join(f"\n{file.name}:{f.lineno}: {f.line}" for f in frames[-2:])
    return f"{type(error).__name__}: {str(error).strip()}{where}"
