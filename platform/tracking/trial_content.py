"""The run of a trial in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from platform.core.row import Row
from platform.tracking.limits import MAX_TAG, cut_middle, tag_values
from platform.tracking.run_content import (
    NOTE,
    OUTCOME,
    WINNER,
    Closing,
    DataSet,
    MetricPoint,
    Opening,
    RunContent,
    curves,
    data_sets_of,
    final,
    now,
    parameters,
    searched_values,
    study_key,
)

__all__ = ["TrialContent", "trial_name"]

STATUS = {"completed": "FINISHED", "pruned": "KILLED", "preempted": "KILLED", "diverged": "FAILED", "failed": "FAILED"}
_ENDED = {
    "completed": "Completed",
    "pruned": "Stopped early, so it has no final score",
    "preempted": "Interrupted; the same command goes on",
    "diverged": "Diverged: no result",
    "failed": "Failed: no result",
}


def trial_name(row: Row) -> str:
    """fixmatch/0 trial 7; of a repeat, fixmatch/0 trial 7 (repeat 2)."""
    return f"{row.study} trial {row.number}" + (f" (repeat {row.repeat})" if row.repeat else "")


@dataclass(frozen=True)
class TrialContent(RunContent):
    """The run of a row, which nothing else may change.

    start: in ms. times: of the evaluations, by step; of one that is not there, now. ended: when it got its outcome.
    won: it is the winner of its study so far. Only a completed trial has a final `score` and `test_accuracy`.
    """

    row: Row
    start: int = field(default_factory=now)
    times: Mapping[int, int] = field(default_factory=dict)
    ended: int = field(default_factory=now)
    won: bool = False

    @property
    def key(self) -> str:
        return self.row.key

    @property
    def parent(self) -> str:
        return study_key(self.row.study)

    def opening(self) -> Opening:
        row = self.row
        tags = {
            "kurabe.kind": "trial",
            "kurabe.trial_key": row.key,
            "kurabe.study": row.study,
            "kurabe.method": row.method,
            "kurabe.seed": row.seed,
            "kurabe.number": row.number,
            "kurabe.repeat": row.repeat,
            OUTCOME: "running",
            NOTE: self._described(),
        }
        return Opening(trial_name(row), self.start, tag_values(tags), parameters(row))

    def steps(self) -> set[int]:
        return {int(report["step"]) for report in self.row.reports}

    def metrics(self, steps: set[int]) -> list[MetricPoint]:
        return curves(self.row.reports, steps, self.times)

    def data_sets(self) -> list[DataSet]:
        return data_sets_of(self.row)

    def closing(self) -> Closing | None:
        row = self.row
        if row.outcome is None:
            return None
        tags: dict[str, Any] = {OUTCOME: row.outcome, "kurabe.steps": row.steps, "kurabe.seconds": f"{row.spent:.1f}"}
        tags[WINNER] = "yes" if self.won else "no"
        if row.accumulate > 1:
            tags["kurabe.accumulate"] = row.accumulate
        if row.error:
            tags["kurabe.reason"] = row.reason
        proof = tag_values(tags)
        tags[NOTE] = self._described()
        values = {"cost": row.spent}
        if row.outcome == "completed":
            values |= {"score": row.score, "test_accuracy": row.test_accuracy}
        return Closing(STATUS[row.outcome], self.ended, tag_values(tags), final(values, self.ended, row.steps), proof)

    def _described(self) -> str:
        """What it is and how it ended, as Markdown; of one that failed, the end of its traceback."""
        row = self.row
        what = f"Repeat {row.repeat} of trial" if row.repeat else "Trial"
        text = f"{what} {row.number} of `{row.study}`: {searched_values(row)}."
        if row.outcome is not None:
            text += f" {_ENDED[row.outcome]} after {row.steps:,} steps."
        if self.won:
            text += f" **The winner of `{row.study}`.**"
        return cut_middle(f"{text}\n\n```\n{row.error.rstrip()}\n```" if row.error else text, MAX_TAG)
