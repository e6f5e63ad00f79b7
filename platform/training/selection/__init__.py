"""Selection rules: from a trial's evaluations to the one score that the search optimises. Never the test set.

A rule is one file here (or an entry point in `kurabe.selection`) with three names: MAXIMISE, NEEDS_TRUTH (it reads true
labels, so it is an oracle) and `score(reports) -> float`, where reports are the metrics of all evaluations so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from platform.core.registry import RULES


@dataclass(frozen=True)
class Rule:
    """A selection rule. score: from the metrics of all evaluations so far. needs_truth: it reads true labels."""

    name: str
    maximise: bool
    needs_truth: bool
    score: Callable[[list[dict[str, float]]], float]
    help: str

    def better(self, a: float, b: float) -> bool:
        return a > b if self.maximise else a < b


def get(name: str) -> Rule:
    """The rule of that name. Raises platform.core.plugins.UnknownPlugin."""
    module = RULES.get(name)
    summary = (module.__doc__ or "").strip().partition("\n")[0]
    return Rule(name, module.MAXIMISE, module.NEEDS_TRUTH, module.score, summary)
