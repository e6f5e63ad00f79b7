"""Checks that every method must pass: `python -m platform.check NAME|FILE.py`, or a test of one's own:

from platform.conformance import MethodConformance

class TestMine(MethodConformance):
    method = "./my_method.py"      # a name, or a path from the test's folder or from where pytest was started
"""

from __future__ import annotations

import platform.conformance.method_checks
import platform.conformance.trial_checks  # noqa: F401  importing them registers their checks
from platform.conformance.pytest_class import MethodConformance
from platform.conformance.suite import CHECKS, Check, Result, Subject, run

__all__ = ["CHECKS", "Check", "MethodConformance", "Result", "Subject", "run"]
