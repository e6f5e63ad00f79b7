"""The suites of checks, one for each kind of plug-in: a check has a name, and says what fails and how to correct it."""

from __future__ import annotations

import inspect
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from platform.core.registry import FINDERS, METHODS, finder_of

__all__ = ["CHECKS", "CHECKS_OF", "Check", "Failed", "Result", "Skipped", "Subject", "check", "run"]

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
    """The plug-in under test: a class, or a module where it is a model or a selection rule.

    file: where it is written. kind: as in core/registry.py. options: of a data source.
    """

    name: str
    cls: Any
    file: Path
    kind: str = "method"
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any] | None = None) -> Subject:
        """Find a plug-in by name, methods first, or by path of its file. Raises UnknownPlugin or BrokenPlugin."""
        by_name = (finder for finder in FINDERS.values() if finder.has(name))
        finder = finder_of(Path(name)) if name.endswith(".py") else next(by_name, METHODS)
        found = finder.get(name)
        module = found if inspect.ismodule(found) else sys.modules[found.__module__]
        return cls(name, found, Path(module.__file__ or name), finder.what, options or {})

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.cls) or "").partition("\n")[0]

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


CHECKS_OF: dict[str, dict[str, Check]] = defaultdict(dict)
"""By kind of plug-in and name, in the order in which they run: quick ones first."""

CHECKS = CHECKS_OF["method"]


def check(
    what: str, quick: bool = True, kind: str = "method"
) -> Callable[[Callable[[Subject], str | None]], Callable[..., str | None]]:
    """Register a function in the suite of a kind under its own name. `what` is true of a plug-in that passes."""

    def register(function: Callable[[Subject], str | None]) -> Callable[[Subject], str | None]:
        name = function.__name__
        CHECKS_OF[kind][name] = Check(name, what, function, quick)
        return function

    return register


def run(name: str, subject: Subject) -> Result:
    """Run one check. What the plug-in itself raises is a failure, shown with its own lines."""
    found, begin = CHECKS_OF[subject.kind][name], time.perf_counter()
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
        advice = f"the {subject.kind} raised this by itself: mend the line named above"
    return Result(found, status, message, advice, time.perf_counter() - begin)


def own_lines(error: BaseException, file: Path) -> str:
    """The error, and the last lines of the plug-in's file in its traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == file.name]
    where = "".join(f"\n{file.name}:{f.lineno}: {f.line}" for f in frames[-2:])
    return f"{type(error).__name__}: {str(error).strip()}{where}"
