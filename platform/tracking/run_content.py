"""The content of a run in MLflow: tags, parameters, metrics and artefacts of a trial or study; the experiment's page.

A content is the whole of a run as it should be. `Delivery` compares it with what MLflow has, and sends the difference.
"""

from __future__ import annotations

import json
import math
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from platform.core.redaction import redact, redact_command, scrub
from platform.core.row import Row, SweepInfo

# MLflow's own limits (mlflow/utils/validation.py); a test compares the numbers with the installed version
MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6000, 8000

STATUS = {"completed": "FINISHED", "pruned": "KILLED", "preempted": "KILLED", "diverged": "FAILED", "failed": "FAILED"}

OUTCOME = "kurabe.outcome"
NOTE = "mlflow.note.content"

VIEW = "kurabe"
"""Name of the view of an experiment's runs that `page` defines: #/experiments/ID/runs?viewStateShareKey=kurabe"""

FAILED_VIEW = "kurabe-failed"

MetricPoint = tuple[str, float, int, int]
"""Name, value, time in ms, step."""

_PLACE = ("step", "evaluation")  # of a report: the axis of the chart, not a curve
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]", re.ASCII)


def now() -> int:
    """Milliseconds, as MLflow counts time."""
    return int(time.time() * 1000)


def cut(text: str, limit: int) -> str:
    """`text`, or its beginning and how much is missing: MLflow refuses or silently cuts what is longer."""
    if len(text) <= limit:
        return text
    notice = f" ... [cut: {len(text)} characters in all]"
    return text[: limit - len(notice)] + notice


def cut_middle(text: str, limit: int) -> str:
    """Cut the middle out of a traceback: the last lines say what happened."""
    if len(text) <= limit:
        return text
    notice = f"... [cut: {len(text)} characters in all]\n"
    return notice + text[-(limit - len(notice)) :]


def metric_name(name: str) -> str:
    """`name` with what MLflow does not take in a name replaced by _."""
    return _NOT_IN_NAMES.sub("_", name)[:MAX_KEY].strip("/") or "_"


@dataclass(frozen=True)
class Opening:
    """The content that a run has from its beginning. start: in ms."""

    name: str
    start: int
    tags: dict[str, str]
    params: dict[str, str]


@dataclass(frozen=True)
class Closing:
    """The content that a run gets at its end. end: in ms.

    proof: a run that has these tags holds the whole content already; empty = none is taken to.
    """

    status: str
    end: int
    tags: dict[str, str]
    metrics: list[MetricPoint]
    proof: dict[str, str]


@dataclass(frozen=True)
class Artifact:
    """A file below `folder` of the run's artefacts: `text` under the name `path`, or a copy of the file at `path`."""

    path: str
    folder: str = ""
    text: str | None = None


class RunContent(ABC):
    """The whole of a run. key: the trial's, or study:METHOD/INDEX. parent: key of its parent run, or empty."""

    @property
    @abstractmethod
    def key(self) -> str: ...

    @property
    def parent(self) -> str:
        return ""

    @abstractmethod
    def opening(self) -> Opening:
        """Name, tags and parameters."""

    @abstractmethod
    def closing(self) -> Closing | None:
        """Status and final values; None while it runs."""

    def steps(self) -> set[int]:
        """The steps of the evaluations it holds."""
        return set()

    def metrics(self, steps: set[int]) -> list[MetricPoint]:
        """The evaluations at `steps`, in order."""
        return []

    def artifacts(self) -> list[Artifact]:
        """Files to show beside it."""
        return []


@dataclass(frozen=True)
class TrialContent(RunContent):
    """The run of a row, which nothing else may change.

    start: in ms. times: of the evaluations, by step; of one that is not there, now. ended: when it got its outcome.
    """

    row: Row
    start: int = field(default_factory=now)
    times: Mapping[int, int] = field(default_factory=dict)
    ended: int = field(default_factory=now)

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
        }
        name = f"{row.method} {row.key}" + (f" (repeat {row.repeat})" if row.repeat else "")
        return Opening(name, self.start, _tags(tags), _params(parameters(row)))

    def steps(self) -> set[int]:
        return {int(report["step"]) for report in self.row.reports}

    def metrics(self, steps: set[int]) -> list[MetricPoint]:
        """A value that is not finite has no place on a chart and is left out."""
        found: list[MetricPoint] = []
        for report in self.row.reports:
            step = int(report["step"])
            if step not in steps:
                continue
            at = self.times.get(step) or now()
            values = {metric_name(k): v for k, v in report.items() if k not in _PLACE and isinstance(v, (int, float))}
            found += [(name, float(value), at, step) for name, value in values.items() if math.isfinite(value)]
        return found

    def closing(self) -> Closing | None:
        row = self.row
        if row.outcome is None:
            return None
        tags: dict[str, Any] = {OUTCOME: row.outcome, "kurabe.steps": row.steps, "kurabe.seconds": f"{row.spent:.1f}"}
        if row.accumulate > 1:
            tags["kurabe.accumulate"] = row.accumulate
        if row.error:
            tags["kurabe.reason"] = row.reason
        proof = _tags(tags)
        if row.error:
            tags[NOTE] = cut_middle(f"```\n{row.error.rstrip()}\n```", MAX_TAG)
        return Closing(STATUS[row.outcome], self.ended, _tags(tags), _final(row, self.ended), proof)


@dataclass(frozen=True)
class StudyContent(RunContent):
    """The run of a study, parent of its trials. status: FINISHED or KILLED once it has ended. winner: of its rows."""

    info: SweepInfo
    study: str
    files: tuple[Artifact, ...] = ()
    status: str = "RUNNING"
    winner: Row | None = None
    at: int = field(default_factory=now)

    @property
    def key(self) -> str:
        return study_key(self.study)

    def opening(self) -> Opening:
        info, command = self.info, redact_command(self.info.command)
        git = info.provenance.get("git") or {}
        tags = {
            "kurabe.kind": "study",
            "kurabe.study": self.study,
            "kurabe.method": self.study.rpartition("/")[0] or self.study,
            "kurabe.select": info.select,
            "kurabe.test_labels": info.test_labels,
            OUTCOME: "running",
            "mlflow.source.name": command,
            "mlflow.source.type": "LOCAL",
            NOTE: f"`{command}`\n\n{info.budget} of {info.steps} steps, "
            f"winner by {info.select}.{_test_labels(info)} Results: `{info.folder}`",
        }
        if git.get("commit"):
            tags["mlflow.source.git.commit"] = git["commit"]
        return Opening(self.study, self.at, _tags(tags), {})

    def closing(self) -> Closing | None:
        if self.status == "RUNNING":
            return None
        tags = {OUTCOME: "completed" if self.status == "FINISHED" else "stopped"}
        metrics: list[MetricPoint] = []
        if self.winner is not None:
            tags["kurabe.winner"] = self.winner.key
            metrics = _final(self.winner, self.at)
        return Closing(self.status, self.at, _tags(tags), metrics, proof={})

    def artifacts(self) -> list[Artifact]:
        return list(self.files)


def settings_files(info: SweepInfo) -> tuple[Artifact, ...]:
    """The whole sweep file, and where its results come from, without secrets."""
    import yaml

    resolved = json.loads(json.dumps(scrub(info.resolved), default=str))
    provenance = json.dumps(scrub(info.provenance), indent=2, default=str, ensure_ascii=False) + "\n"
    return (
        Artifact("sweep.yaml", text=yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)),
        Artifact("provenance.json", text=provenance),
    )


def study_key(study: str) -> str:
    """RunContent.key of a study's run."""
    return f"study:{study}"


def key_of(tags: Mapping[str, str]) -> str:
    """RunContent.key of the run that has these tags; empty where it is not one of ours."""
    if tags.get("kurabe.kind") == "study":
        return study_key(tags.get("kurabe.study", ""))
    return tags.get("kurabe.trial_key", "")


def filter_of(key: str) -> str:
    """MLflow's search filter for the run with this RunContent.key."""
    if key.startswith("study:"):
        return f"tags.`kurabe.kind` = 'study' and tags.`kurabe.study` = '{key.removeprefix('study:')}'"
    return f"tags.`kurabe.trial_key` = '{key}'"


def parameters(row: Row) -> dict[str, Any]:
    """The searched values by their names, then everything else that was resolved: hyper, train, model, data, labels."""
    spec = row.spec
    flat = _flatten(spec.hyper)
    flat |= _flatten(spec.train.model_dump(mode="json"), "train.")
    flat |= {"model": spec.model}
    flat |= _flatten(spec.data.model_dump(mode="json"), "data.")
    flat |= _flatten(spec.labels.model_dump(mode="json"), "labels.")
    flat |= _flatten(spec.seeds, "seeds.")
    return row.params | {name: value for name, value in flat.items() if name not in row.params}


def page(info: SweepInfo, experiment_id: str) -> dict[str, str]:
    """Tags of the experiment: its description, and two tables of its trials.

    MLflow shows neither metrics nor parameters of its own accord; a shared view is an experiment tag with the page's
    state (mlflow.sharedViewState.NAME), tried with MLflow 3.17. A version that does not know it shows its own columns.
    Every trial has a latest score; that of one that failed or diverged is no result: these have a table of their own.
    """
    link = f"#/experiments/{experiment_id}/runs?viewStateShareKey="
    trial = "tags.`kurabe.kind` = 'trial' and attributes.status"
    command = redact_command(info.command)
    return {
        "mlflow.experimentKind": "custom_model_development",  # else the page opens on traces of language models
        NOTE: f"`{command}`\n\nOne run per study, below it one per trial, winner by {info.select}."
        f"{_test_labels(info)} [Trials by score]({link}{VIEW}), [failed and diverged trials]({link}{FAILED_VIEW})",
        f"mlflow.sharedViewState.{VIEW}": json.dumps(_view(info, f"{trial} != 'FAILED'")),
        f"mlflow.sharedViewState.{FAILED_VIEW}": json.dumps(_view(info, f"{trial} = 'FAILED'")),
    }


def _test_labels(info: SweepInfo) -> str:
    """A sentence on the metric `test_accuracy`, where it is not what its name says."""
    return "" if info.test_labels == "true" else f" test_accuracy is {info.test_accuracy_name}, which may be wrong."


def _view(info: SweepInfo, search_filter: str) -> dict[str, Any]:
    """State of MLflow's page of runs: the runs that pass the filter by score, with what was searched as columns."""
    searched = info.resolved.get("search") or {}
    params = dict.fromkeys(name.removeprefix(f"{m}.") for name in searched for m in info.methods)
    params = [name for name in params if not any(name.startswith(f"{m}.") for m in info.methods)][:12]
    columns = ["metrics.`score`", "metrics.`test_accuracy`", f"tags.`{OUTCOME}`", "tags.`kurabe.study`"]
    return {
        "searchFilter": search_filter,
        "orderByKey": "metrics.`score`",
        "orderByAsc": not info.maximise,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": [*columns, *(f"params.`{name}`" for name in params)],
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_10_RUNS",
    }


def _final(row: Row, at: int) -> list[MetricPoint]:
    """The latest values of the curves `score` and `test_accuracy`: those of the outcome."""
    final = {"score": row.score, "test_accuracy": row.test_accuracy}
    return [(k, float(v), at, row.steps) for k, v in final.items() if v is not None and math.isfinite(v)]


def _tags(tags: dict[str, Any]) -> dict[str, str]:
    """The tags as MLflow keeps them: strings within its limits, without secrets."""
    return {cut(k, MAX_KEY): cut_middle(redact(str(v)), MAX_TAG) for k, v in tags.items()}


def _params(params: dict[str, Any]) -> dict[str, str]:
    return {metric_name(k): cut(redact(str(v)), MAX_PARAM) for k, v in params.items()}


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
