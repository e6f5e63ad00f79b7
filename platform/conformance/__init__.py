"""Checks that every plug-in must pass: `python -m platform.check NAME|FILE.py`; of a method also a test of one's own:

from platform.conformance import MethodConformance

class TestMine(MethodConformance):
    method = "./my_method.py"      # a name, or a path from the test's folder or from where pytest was started
"""

from __future__ import annotations

import platform.conformance.method_checks
import platform.conformance.model_checks
import platform.conformance.noise_checks
import platform.conformance.rule_checks
import platform.conformance.source_checks
import platform.conformance.trial_checks  # noqa: F401  importing them registers their checks
from platform.conformance.pytest_class import MethodConformance
from platform.conformance.suite import CHECKS, CHECKS_OF, Check, Result, Subject, run

__all__ = ["CHECKS", "CHECKS_OF", "Check", "MethodConformance", "Result", "Subject", "run"]
