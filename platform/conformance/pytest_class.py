"""The suite as a pytest class: one test per check."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from platform.conformance import method_checks as quick  # noqa: F401  they enter their checks
from platform.conformance import trial_checks as whole  # noqa: F401  they enter their checks
from platform.conformance.suite import CHECKS, Subject, run

__all__ = ["MethodConformance"]


class MethodConformance:
    """Subclass it in a test file and name the method. Its tests are called test_NAME, NAME as in platform.check."""

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
