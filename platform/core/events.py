"""What happens in a sweep, as the driver tells it to everybody who follows: ledger, MLflow, screen, results folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from platform.core.row import Row, SweepInfo

__all__ = [
    "Event",
    "Listener",
    "SweepEnded",
    "SweepStarted",
    "TrialEnded",
    "TrialProposed",
    "TrialReported",
    "TrialStarted",
]


@dataclass(frozen=True)
class SweepStarted:
    """Comes first. rows: what earlier runs of the sweep left, by the ledger; those that are not over run again."""

    info: SweepInfo
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class TrialProposed:
    """The search chose `params` for a trial of `study`, or met a row that is known (proposal.known)."""

    study: str
    proposal: dict[str, Any]  # search.proposer.Asked as a dict


@dataclass(frozen=True)
class TrialStarted:
    """A row runs from now on; one that goes on has its earlier evaluations."""

    row: Row


@dataclass(frozen=True)
class TrialReported:
    """An evaluation. It is the last of row.reports."""

    row: Row
    report: dict[str, float]


@dataclass(frozen=True)
class TrialEnded:
    """A row has an outcome. It may have had no TrialStarted in this run: it failed before, or was answered."""

    row: Row


@dataclass(frozen=True)
class SweepEnded:
    """Comes last. rows: the whole table."""

    rows: list[Row]


Event = SweepStarted | TrialProposed | TrialStarted | TrialReported | TrialEnded | SweepEnded


class Listener(Protocol):
    """Anything that follows a sweep from the driver.

    Calls come from one thread, in order. A listener must return soon: training waits for it.
    """

    def handle(self, event: Event) -> None:
        """Take note of an event; one that does not concern the listener is passed over."""
        ...
