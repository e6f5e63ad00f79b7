"""What MLflow is to hold of a sweep, as plain data that can wait in a queue or in a file.

An event is a dict with `run` (the trial's key, or "study:METHOD/INDEX" for a parent), `do` and, by kind:

    open    name, start, tags, params, parent     the run exists and is running
    log     metrics [[name, value, ms, step]]     one evaluation
    close   status, end, tags, metrics            the run has ended
    row     opened, logs, closed                  all of the above for a row that this session did not see
    text    file, text                            an artefact from memory
    file    path, folder                          an artefact from disk
    page    tags                                  of the experiment: its description, its view of the runs

Delivering an event twice changes nothing.
"""

from __future__ import annotations

import json
import math
import re
import time
from typing import Any

from platform.core.row import Row, SweepInfo
from platform.core.uri import redact

# MLflow's own limits (mlflow/utils/validation.py); a test compares the numbers with the installed version
MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6000, 8000

STATUS = {"completed": "FINISHED", "pruned": "KILLED", "preempted": "KILLED", "diverged": "FAILED", "failed": "FAILED"}

Event = dict[str, Any]
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
    """As `cut`, for tracebacks: the last lines say what happened."""
    if len(text) <= limit:
        return text
    notice = f"... [cut: {len(text)} characters in all]\n"
    return notice + text[-(limit - len(notice)) :]


def metric_name(name: str) -> str:
    return _NOT_IN_NAMES.sub("_", name)[:MAX_KEY].strip("/") or "_"


def study_id(study: str) -> str:
    return f"study:{study}"


def open_study(info: SweepInfo, study: str) -> Event:
    git = info.provenance.get("git") or {}
    tags = {
        "kurabe.kind": "study",
        "kurabe.study": study,
        "kurabe.method": study.rpartition("/")[0] or study,
        "kurabe.select": info.select,
        "kurabe.outcome": "running",
        "mlflow.source.name": info.command,
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": f"`{info.command}`\n\n{info.budget} of {info.steps} steps, "
        f"winner by {info.select}. Results: `{info.folder}`",
    }
    if git.get("commit"):
        tags["mlflow.source.git.commit"] = git["commit"]
    return {"run": study_id(study), "do": "open", "name": study, "start": now(), "parent": None} | _strings(tags, {})


VIEW = "kurabe"
"""Name of the view of an experiment's runs that `page` defines: #/experiments/ID/runs?viewStateShareKey=kurabe"""


def page(info: SweepInfo) -> Event:
    """What MLflow's page of the experiment opens with: description, and a table of the runs by score.

    MLflow shows neither metrics nor parameters of its own accord; a shared view is an experiment tag with the page's
    state (mlflow.sharedViewState.NAME), tried with MLflow 3.17. A version that does not know it shows its own columns.
    """
    searched = info.resolved.get("search") or {}
    params = dict.fromkeys(name.removeprefix(f"{m}.") for name in searched for m in info.methods)
    params = [name for name in params if not any(name.startswith(f"{m}.") for m in info.methods)][:12]
    columns = ["metrics.`score`", "metrics.`test_accuracy`", "tags.`kurabe.outcome`", "tags.`kurabe.study`"]
    state = {
        "searchFilter": "tags.`kurabe.kind` = 'trial'",
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
    tags = {
        "mlflow.experimentKind": "custom_model_development",  # else the page opens on traces of language models
        "mlflow.note.content": f"`{redact(info.command)}`\n\nOne run per study, below it one per trial, winner by "
        f"{info.select}. [All trials by score](#/experiments/{{id}}/runs?viewStateShareKey={VIEW})",
        f"mlflow.sharedViewState.{VIEW}": json.dumps(state),
    }
    return {"run": study_id(info.studies[0]), "do": "page", "tags": tags}


def open_trial(row: Row) -> Event:
    tags = {
        "kurabe.kind": "trial",
        "kurabe.trial_key": row.key,
        "kurabe.study": row.study,
        "kurabe.method": row.method,
        "kurabe.seed": row.seed,
        "kurabe.number": row.number,
        "kurabe.repeat": row.repeat,
        "kurabe.outcome": "running",
    }
    start = now() - int(1000 * row.seconds)
    name = f"{row.method} {row.key}" + (f" (repeat {row.repeat})" if row.repeat else "")
    head = {"run": row.key, "do": "open", "name": name, "start": start}
    return head | {"parent": study_id(row.study)} | _strings(tags, parameters(row))


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


def log_report(row: Row, report: dict[str, float], at: int | None = None) -> Event:
    """One evaluation; a value that is not finite has no place on a chart and is left out."""
    step = int(report.get("step", row.steps))
    values = {k: v for k, v in report.items() if k not in _PLACE and isinstance(v, (int, float)) and math.isfinite(v)}
    if "score" in values:  # a curve; the metric `score` is the outcome, which a trial that diverges has none of
        values["selection_score"] = values.pop("score")
    at = at or now()
    return {"run": row.key, "do": "log", "metrics": [[metric_name(k), float(v), at, step] for k, v in values.items()]}


def close_trial(row: Row) -> Event:
    outcome = row.outcome or "preempted"
    tags: dict[str, Any] = {
        "kurabe.outcome": outcome,
        "kurabe.steps": row.steps,
        "kurabe.seconds": f"{row.spent:.1f}",
    }
    if row.accumulate > 1:
        tags["kurabe.accumulate"] = row.accumulate
    if row.error:
        tags["kurabe.reason"] = row.reason
        tags["mlflow.note.content"] = cut_middle(f"```\n{row.error.rstrip()}\n```", MAX_TAG)
    final = {"score": row.score, "test_accuracy": row.test_accuracy}
    at = now()
    metrics = [[k, float(v), at, row.steps] for k, v in final.items() if v is not None and math.isfinite(v)]
    head = {"run": row.key, "do": "close", "status": STATUS[outcome], "end": at, "metrics": metrics}
    return head | _strings(tags, {})


def close_study(study: str, status: str, winner: Row | None) -> Event:
    tags: dict[str, Any] = {"kurabe.outcome": "completed" if status == "FINISHED" else "stopped"}
    metrics: list[list[Any]] = []
    at = now()
    if winner is not None:
        tags["kurabe.winner"] = winner.key
        final = {"score": winner.score, "test_accuracy": winner.test_accuracy}
        metrics = [[k, float(v), at, winner.steps] for k, v in final.items() if v is not None and math.isfinite(v)]
    head = {"run": study_id(study), "do": "close", "status": status, "end": at, "metrics": metrics}
    return head | _strings(tags, {})


def whole_row(row: Row) -> Event:
    """For a row that ended in an earlier session: made anew only where MLflow does not have it."""
    return {"run": row.key, "do": "row", "opened": open_trial(row), "logs": curve(row), "closed": close_trial(row)}


def curve(row: Row) -> list[Event]:
    """All evaluations of a row so far, at the times they would have if it had begun its last one just now."""
    start = now() - int(1000 * row.seconds)
    return [log_report(row, report, at=start + int(1000 * report.get("seconds", 0))) for report in row.reports]


def _strings(tags: dict[str, Any], params: dict[str, Any]) -> Event:
    """Tags and parameters as MLflow keeps them: strings within its limits, without secrets."""
    return {
        "tags": {cut(k, MAX_KEY): cut_middle(redact(str(v)), MAX_TAG) for k, v in tags.items()},
        "params": {metric_name(k): cut(redact(str(v)), MAX_PARAM) for k, v in params.items()},
    }


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
