"""What every method must keep to: `python -m platform.check NAME|FILE.py`, or a test of one's own:

from platform.conformance import MethodConformance

class TestMine(MethodConformance):
    method = "./my_method.py"      # a name, or a path from the test's folder or from where pytest was started
"""

from __future__ import annotations

from platform.conformance import method_checks as quick  # noqa: F401  they enter their checks
from platform.conformance import trial_checks as whole  # noqa: F401  they enter their checks
from platform.conformance.pytest_class import MethodConformance
from platform.conformance.suite import CHECKS, Check, Result, Subject, run

__all__ = ["CHECKS", "Check", "MethodConformance", "Result", "Subject", "run"]
