"""The run of a study in MLflow, a line of the view Methods: its headline numbers and what its winner is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from platform.core.redaction import redact_command, scrub
from platform.core.row import Row, SweepInfo
from platform.tracking.limits import tag_values
from platform.tracking.logged_model import TrainedModel
from platform.tracking.run_content import (
    NOTE,
    OUTCOME,
    WINNER,
    Artifact,
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

__all__ = ["StudyContent", "settings_files", "labels_note"]

_CURVES = ("val/", "test/", "train/train_loss", "system/seconds")
"""Of the winner's curves, those that its study shows; the winner's own run has all."""


@dataclass(frozen=True)
class StudyContent(RunContent):
    """The run of a study, parent of its trials. status: FINISHED or KILLED once it has ended. winner: of its rows.

    numbers: its headlines (Headlines.by_study); without them, those of the winner. ended: trials that have. model:
    gives the winner as a model, or None where its weights are gone.
    """

    info: SweepInfo
    study: str
    files: tuple[Artifact, ...] = ()
    status: str = "RUNNING"
    winner: Row | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    ended: int = 0
    model: Callable[[Row], TrainedModel | None] | None = None
    at: int = field(default_factory=now)

    @property
    def key(self) -> str:
        return study_key(self.study)

    @property
    def method(self) -> str:
        return self.study.rpartition("/")[0] or self.study

    def opening(self) -> Opening:
        info, command = self.info, redact_command(self.info.command)
        git = info.provenance.get("git") or {}
        tags = {
            "kurabe.kind": "study",
            "kurabe.study": self.study,
            "kurabe.method": self.method,
            "kurabe.select": info.select,
            "kurabe.test_labels": info.test_labels,
            OUTCOME: "running",
            "mlflow.source.name": command,
            "mlflow.source.type": "LOCAL",
            NOTE: self._described(),
        }
        if git.get("commit"):
            tags["mlflow.source.git.commit"] = git["commit"]
        index = self.study.rpartition("/")[2]
        return Opening(self.study, self.at, tag_values(tags), {"method": self.method, "study": index})

    def so_far(self) -> list[MetricPoint]:
        return self._headlines()

    def closing(self) -> Closing | None:
        if self.status == "RUNNING":
            return None
        tags = {OUTCOME: "completed" if self.status == "FINISHED" else "stopped", NOTE: self._described()}
        params: dict[str, str] = {}
        if self.winner is not None:
            tags[WINNER] = self.winner.key
            params = {"winner": f"trial {self.winner.number}"} | parameters(self.winner)
        return Closing(self.status, self.at, tag_values(tags), self._headlines(), {}, params)

    def steps(self) -> set[int]:
        return {int(report["step"]) for report in self._settled_reports()}

    def metrics(self, steps: set[int]) -> list[MetricPoint]:
        return curves(self._settled_reports(), steps, {}, _CURVES)

    def artifacts(self) -> list[Artifact]:
        return list(self.files)

    def data_sets(self) -> list[DataSet]:
        return data_sets_of(self.winner) if self.winner is not None else []

    def is_of_another(self, tags: Mapping[str, str]) -> bool:
        """A parameter cannot change in MLflow, nor a curve be taken back: another winner needs another run."""
        told = tags.get(WINNER, "")
        return bool(told) and self.winner is not None and self.status != "RUNNING" and told != self.winner.key

    def _settled_reports(self) -> list[dict[str, float]]:
        """The winner's evaluations, once no other can become the winner."""
        return self.winner.reports if self.winner is not None and self.status != "RUNNING" else []

    def _headlines(self) -> list[MetricPoint]:
        """At the number of ended trials as their step, so that the history is the best so far against the trials."""
        values: dict[str, float | None] = dict(self.numbers)
        if not values and self.winner is not None:
            values = {"score": self.winner.score, "test_accuracy": self.winner.test_accuracy}
        return final(values, self.at, self.ended)

    def _described(self) -> str:
        info, text = self.info, ""
        if self.winner is not None:
            so_far = " so far" if self.status == "RUNNING" else ""
            text = f"Winner{so_far}: trial {self.winner.number}, {searched_values(self.winner)}.\n\n"
        text += f"{info.budget} of {info.steps} steps, winner by {info.select}.{labels_note(info)} "
        return f"{text}Results: `{info.folder}`\n\n`{redact_command(info.command)}`"


def labels_note(info: SweepInfo) -> str:
    """A sentence on the metric `test_accuracy`, where it is not what its name says."""
    return "" if info.test_labels == "true" else f" test_accuracy is {info.test_accuracy_name}, which may be wrong."


def settings_files(info: SweepInfo) -> tuple[Artifact, ...]:
    """The whole sweep file, and where its results come from, without secrets."""
    import yaml

    resolved = json.loads(json.dumps(scrub(info.resolved), default=str))
    provenance = json.dumps(scrub(info.provenance), indent=2, default=str, ensure_ascii=False) + "\n"
    return (
        Artifact("sweep.yaml", text=yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)),
        Artifact("provenance.json", text=provenance),
    )
