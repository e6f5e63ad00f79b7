"""The benchmark table: a row is a trial; and what is known of the sweep that it belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from platform.core.rungs import evaluation_steps
from platform.core.spec import TrialSpec, branch_point

Outcome = Literal["completed", "pruned", "diverged", "failed", "preempted"]
REASONS = ("out of memory (device)", "out of memory (host)", "stuck", "the worker was lost")


@dataclass
class Row:
    """One trial. `study` is METHOD/INDEX. `params` are the searched values only, by the sweep file's names."""

    key: str
    method: str
    study: str
    seed: int
    number: int  # position in its study; 0 = the defaults
    params: dict[str, Any]
    spec: TrialSpec
    outcome: Outcome | None = None  # None while it runs
    steps: int = 0
    seconds: float = 0.0
    score: float | None = None  # by the selection rule, from the last report
    test_accuracy: float | None = None  # at the same report; recorded, never selected on
    error: str = ""  # traceback of a failed trial
    reports: list[dict[str, float]] = field(default_factory=list)  # all evaluations, in order
    failures: int = 0  # attempts that failed or diverged, earlier runs of the sweep included
    accumulate: int = 1  # parts its batches were split into because they did not fit into memory
    repeat: int = 0  # 1, 2, ... = trains the study's winner (same `number`) on fresh seeds, after the search
    earlier: float = 0.0  # seconds of attempts that failed and were started over
    predictions: dict[str, Any] | None = field(default=None, compare=False, repr=False)
    """Counts of its test predictions once it has completed; kept in results/NAME/predictions, not in the ledger."""

    @property
    def spent(self) -> float:
        """Device-seconds it is charged with: training and evaluation of all its attempts."""
        return self.earlier + max(self.seconds, self.reports[-1].get("seconds", 0.0) if self.reports else 0.0)

    @property
    def reason(self) -> str:
        """Reason for no result: one of REASONS, with which `error` begins, or "error" for an exception of its own."""
        if not self.error:
            return ""
        return next((reason for reason in REASONS if self.error.startswith(reason)), "error")


def has_score(row: Row) -> bool:
    """Whether the trial completed with a finite score."""
    return row.outcome == "completed" and row.score is not None and math.isfinite(row.score)


def winner(rows: Sequence[Row], maximise: bool) -> Row | None:
    """The best completed trial of the search by the selection rule; of equals the earlier one.

    Neither test accuracy nor repeats count.
    """
    done = [row for row in rows if has_score(row) and not row.repeat]
    return min(done, key=lambda row: (-row.score if maximise else row.score, row.number), default=None)  # type: ignore[operator]


def steps_made(row: Row) -> int:
    """Steps that a trial trained itself: a child of population-based training begins where its parent was."""
    milestone = branch_point(row.spec.parent)[1]
    train = row.spec.train
    first = evaluation_steps(train.steps, train.evaluations)[milestone - 1] if milestone else 0
    return max(0, row.steps - first)


@dataclass
class SweepInfo:
    """The facts of a sweep that its listeners get. `folder` is results/NAME."""

    name: str
    folder: Path
    methods: list[str]
    studies: list[str]
    trials_per_study: int | None  # None = only the seconds count
    steps: int
    select: str
    maximise: bool
    tracking: str
    resolved: dict[str, Any]  # the whole sweep file with every default filled in
    provenance: dict[str, Any]
    command: str
    slots: int = 1
    id: str = ""  # of this sweep's ledger; a folder made anew has another
    seconds_per_study: float | None = None  # device-seconds granted to each study, beside its trials
    repeats: int = 0  # of each study's winner
    planned: int | None = None  # rows in all, repeats included, where that is known before
    planned_of: dict[str, int] = field(default_factory=dict)  # the same of each study
    complete: set[str] = field(default_factory=set)  # studies that have nothing left to run; known when the sweep ends
    remarks: list[str] = field(default_factory=list)  # lines for the end: what the search cost; known when it ends
    test_labels: Literal["true", "as given"] = "true"  # what the test images are judged by

    @property
    def test_accuracy_name(self) -> str:
        """The name of `test_accuracy` for people: against doubtful labels it is not called test accuracy alone."""
        return "test accuracy" if self.test_labels == "true" else "test accuracy (labels as given)"

    @property
    def unfinished(self) -> bool:
        """Whether the same command has more to run; known when the sweep ends."""
        return not self.complete.issuperset(self.studies)

    @property
    def budget(self) -> str:
        """The budget of every study: 16 trials or 600 device-seconds."""
        count = self.trials_per_study
        trials = [] if count is None else [f"{count} trial{'s' * (count != 1)}"]
        seconds = [] if self.seconds_per_study is None else [f"{self.seconds_per_study:,g} device-seconds"]
        return " or ".join([*trials, *seconds])
