"""The suite as a pytest class: one test per check."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import platform.conformance.method_checks
import platform.conformance.trial_checks  # noqa: F401  importing them registers their checks
from platform.conformance.suite import CHECKS, Subject, run

__all__ = ["MethodConformance"]


class MethodConformance:
    """Base of a test class that names a method; its tests are test_NAME, with the names of `platform.check --list`."""

    method: ClassVar[str]

    @classmethod
    def subject(cls) -> Subject:
        name = cls.method
        beside = Path(inspect.getfile(cls)).parent / name
        return Subject.of(str(beside) if name.endswith(".py") and beside.is_file() else name)


def _test(name: str) -> Callable[[Any], None]:
    def test(self: MethodConformance) -> None:
        import pytest

        result = run(name, self.subject())
        if result.status == "skipped":
            pytest.skip(result.message)
        if result.status == "failed":
            pytest.fail(f"{result.message}\n-> {result.advice}", pytrace=False)

    test.__doc__ = CHECKS[name].what
    return test


for _name in CHECKS:
    setattr(MethodConformance, f"test_{_name}", _test(_name))
