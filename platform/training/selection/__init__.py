"""Selection rules: from a trial's evaluations to the one score that the search optimises. Never the test set.

A rule is one file, here or named by path, or an entry point in `kurabe.selection`, with three names: MAXIMISE,
NEEDS_TRUTH (it reads true labels, so it is an oracle) and `score(reports) -> float`, where reports are the metrics of
all evaluations so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
    """The rule of that name, or of that file. Raises UnknownPlugin or BrokenPlugin (platform/core/plugins.py)."""
    module = RULES.get(name)
    summary = (module.__doc__ or "").strip().partition("\n")[0]
    return Rule(
        Path(name).stem if name.endswith(".py") else name, module.MAXIMISE, module.NEEDS_TRUTH, module.score, summary
    )
