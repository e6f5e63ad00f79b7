"""The judgement of a sweep as data: what the report found, for listeners that show it and judge nothing themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from platform.core.row import Row, SweepInfo

__all__ = ["Headlines", "Judge"]


@dataclass(frozen=True)
class Headlines:
    """The findings so far.

    sentences: plain text, the most important first. leaderboard: a Markdown table. by_study: numbers of each study that
    has a winner, by METHOD/INDEX and name: score, test_accuracy, difference (to the reference, on the same study),
    difference_low and difference_high (the 95 % interval of the mean difference over studies), cost (device-seconds
    of its search), rank (of its method). A number that is not known is left out. metric: the one that ranks.
    commands: what to type next, by purpose.
    """

    sentences: list[str] = field(default_factory=list)
    leaderboard: str = ""
    by_study: dict[str, dict[str, float]] = field(default_factory=dict)
    reference: str = ""
    metric: str = "score"
    commands: dict[str, str] = field(default_factory=dict)


Judge = Callable[[SweepInfo, Sequence[Row]], Headlines]
"""Judges the rows of a sweep, ended or not."""
