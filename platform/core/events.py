"""The events of a sweep, as the driver sends them to its listeners: ledger, MLflow, screen, results folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from platform.core.row import Row, SweepInfo

__all__ = [
    "Event",
    "Listener",
    "Proposal",
    "SweepEnded",
    "SweepStarted",
    "TrialEnded",
    "TrialProposed",
    "TrialReported",
    "TrialStarted",
]


@dataclass(frozen=True)
class SweepStarted:
    """Comes first, but for proposals of children that an earlier run of the sweep left out.

    rows: what earlier runs left, by the ledger; those that are not over run again.
    """

    info: SweepInfo
    rows: list[Row] = field(default_factory=list)


class Proposal(NamedTuple):
    """Active parameters only, in the sweep file's names, and the key of their row.

    known: the study has that row already, and the proposal was answered with its values (None: it gave none so far).
    parent, replaces: of population-based training, whose children are no proposals of the search.
    """

    params: dict[str, Any]
    key: str
    known: bool = False
    values: list[float] | None = None
    parent: str = ""
    replaces: str = ""


@dataclass(frozen=True)
class TrialProposed:
    """The search proposed a trial of `study`, or a row that is known."""

    study: str
    proposal: Proposal


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
    """Receives every event of a sweep from the driver, once.

    Calls come from one thread, in order. A listener must return soon: training waits for it.
    """

    def handle(self, event: Event) -> None:
        """Process an event; a listener ignores the types that do not concern it."""
        ...
