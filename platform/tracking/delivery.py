"""Brings events to MLflow, each exactly once in effect, with MlflowClient and explicit run ids only.

The fluent API (`mlflow.start_run` and friends) is never used: it follows MLFLOW_RUN_ID and the like from the
environment and keeps a global active run. A run is found by its tag before it is made, so that a continued sweep
reopens its runs; steps that a run already has are not logged again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.core.files import free_name
from platform.tracking.events import VIEW, Event

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_METRICS = 1000  # per log_batch, MLflow's limit; so are the next two
MAX_PARAMS_OR_TAGS = 100
MAX_ENTITIES = 1000
SWEEP = "kurabe.sweep"
_LASTING = {
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_STATE",
    "BAD_REQUEST",
    "MALFORMED_REQUEST",
}


def passes(error: BaseException) -> bool:
    """Whether trying later may help: the server is away, the database is locked, the disk is full."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code not in _LASTING
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in (
        "sqlalchemy",
        "requests",
        "urllib3",
    )


@dataclass
class _Run:
    """A run this session has open: its id, the steps it has, the latest values of its metrics, its parameters."""

    id: str
    steps: set[int] = field(default_factory=set)
    latest: dict[str, float] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    outcome: str = ""


class Delivery:
    """One experiment of one tracking store.

    id: of the sweep (Ledger.id), which the experiment carries as a tag. An experiment of that name which another sweep
    made (a folder begun anew with --fresh, say) is renamed NAME.1, NAME.2, ... as such folders are; "" takes any.
    `dropped` counts what MLflow refused for good; `lost` has the runs concerned (deleted by somebody, say).
    """

    def __init__(self, uri: str, experiment: str, artifacts: Path | None = None, id: str = "") -> None:
        self.uri, self.experiment, self.artifacts, self.id = uri, experiment, artifacts, id
        self.dropped = 0
        self.lost: dict[str, str] = {}
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._fresh = False  # the experiment was made by us and nothing went wrong since: no run to look for
        self._runs: dict[str, _Run] = {}

    def deliver(self, events: list[Event]) -> list[Event]:
        """Send; the answer is what has to be tried again (in order), with the error in `self.error`."""
        self.error: BaseException | None = None
        groups: dict[str, list[Event]] = {}
        for event in events:
            groups.setdefault(event["run"], []).append(event)
        for run, group in groups.items():
            try:
                self._deliver_run(run, group)
            except Exception as error:
                self._fresh = False
                if passes(error):
                    self.error = error
                    left = list(groups)[list(groups).index(run) :]
                    return [event for event in events if event["run"] in left]
                self.dropped += len(group)
                self.lost[run] = str(error).splitlines()[0] if str(error) else type(error).__name__
                self._runs.pop(run, None)
        return []

    @property
    def client(self) -> MlflowClient:
        if self._client is None:
            from mlflow import MlflowClient

            self._client = MlflowClient(self.uri)
        return self._client

    @property
    def page(self) -> str:
        """The view of this experiment's runs below the server's address; empty before anything was delivered."""
        return f"#/experiments/{self._experiment_id}/runs?viewStateShareKey={VIEW}" if self._experiment_id else ""

    @property
    def experiment_id(self) -> str:
        if not self._experiment_id:
            found = self._find_experiment()
            if found is None:
                place = self.artifacts.absolute().as_uri() if self.artifacts is not None else None
                tags = {SWEEP: self.id} if self.id else None
                self._experiment_id = self.client.create_experiment(self.experiment, place, tags)
                self._fresh = True
            else:
                if found.lifecycle_stage == "deleted":
                    self.client.restore_experiment(found.experiment_id)
                self._experiment_id = found.experiment_id
        return self._experiment_id

    def _find_experiment(self) -> Any:
        """This sweep's experiment, under whatever name; None where there is none, and the name is free then."""
        from mlflow.entities import ViewType

        named = self.client.get_experiment_by_name(self.experiment)
        if not self.id or (named is not None and named.tags.get(SWEEP) == self.id):
            return named
        mine = self.client.search_experiments(
            view_type=ViewType.ALL, max_results=1, filter_string=f"tags.`{SWEEP}` = '{self.id}'"
        )
        if not mine and named is not None:
            if named.lifecycle_stage == "deleted":  # only an active one can be renamed
                self.client.restore_experiment(named.experiment_id)
            aside = free_name(
                lambda number: f"{self.experiment}.{number}",
                lambda name: self.client.get_experiment_by_name(name) is not None,
            )
            self.client.rename_experiment(named.experiment_id, aside)
            if named.lifecycle_stage == "deleted":
                self.client.delete_experiment(named.experiment_id)
        return mine[0] if mine else None

    # -- one run -----------------------------------------------------------------------------------------------------

    def _deliver_run(self, name: str, events: list[Event]) -> None:
        """All events of one run in one log_batch, as far as MLflow's limits allow."""
        batch = _Batch()
        close: Event | None = None
        for event in events:
            if event["do"] == "row":
                if self._has_ended(name, event):
                    continue
                self._collect(name, event["opened"], batch)
                for log in event["logs"]:
                    self._collect(name, log, batch)
                close = event["closed"]
            elif event["do"] == "close":
                close = event
            elif event["do"] == "open":
                close = None  # tried again after an end that was not delivered yet
                self._collect(name, event, batch)
            elif event["do"] == "page":
                for key, value in event["tags"].items():
                    value = value.replace("{id}", self.experiment_id)
                    self.client.set_experiment_tag(self.experiment_id, key, value)
            elif event["do"] in ("text", "file"):
                self._artifact(self._run(name).id, event)
            else:
                self._collect(name, event, batch)
        if close is not None:
            self._collect(name, close, batch)
        self._send(name, batch)
        if close is not None:
            self.client.set_terminated(self._run(name).id, close["status"], close["end"])

    def _collect(self, name: str, event: Event, batch: _Batch) -> None:
        if event["do"] == "open":
            run = self._open(name, event)
            batch.params |= {k: v for k, v in event["params"].items() if k not in run.params}
            return
        run = self._run(name)
        batch.tags |= event.get("tags", {})
        seen = run.steps | {step for *_, step in batch.metrics}
        for metric, value, at, step in event.get("metrics", []):
            if event["do"] == "close":
                known = any(m == metric and v == value and s == step for m, v, _, s in batch.metrics)
                known = known or (run.latest.get(metric) == value and step in run.steps)
            else:
                known = step in seen
            if not known:
                batch.metrics.append((metric, value, at, step))

    def _send(self, name: str, batch: _Batch) -> None:
        from mlflow.entities import Metric, Param, RunTag

        run = self._run(name)
        for metrics, params, tags in batch.parts():
            self.client.log_batch(
                run.id,
                [Metric(key, value, at, step) for key, value, at, step in metrics],
                [Param(key, value) for key, value in params],
                [RunTag(key, value) for key, value in tags],
                synchronous=True,
            )
            run.params.update(key for key, _ in params)
        run.steps.update(step for *_, step in batch.metrics)
        run.latest.update({key: value for key, value, *_ in batch.metrics})

    def _artifact(self, run_id: str, event: Event) -> None:
        if event["do"] == "text":
            self.client.log_text(run_id, event["text"], event["file"])
        elif Path(event["path"]).exists():
            self.client.log_artifact(run_id, event["path"], event["folder"] or None)

    # -- finding and making runs -------------------------------------------------------------------------------------

    def _run(self, name: str) -> _Run:
        if name not in self._runs:
            found = self._find(name)
            if found is None:
                raise LookupError(f"MLflow has no run {name} any more")
            self._runs[name] = found
        return self._runs[name]

    def _open(self, name: str, event: Event) -> _Run:
        """The run of a trial or of a study: the one that exists, set running again, or a new one."""
        found = self._runs.get(name) or (None if self._new() else self._find(name))
        if found is None:
            tags = dict(event["tags"])
            parent = self._runs.get(event["parent"]) or (event["parent"] and self._find(event["parent"]))
            if parent:
                tags["mlflow.parentRunId"] = self._runs.setdefault(event["parent"], parent).id
            run = self.client.create_run(self.experiment_id, event["start"], tags, event["name"])
            found = _Run(run.info.run_id)
        else:
            self.client.update_run(found.id, status="RUNNING")
            self.client.set_tag(found.id, "kurabe.outcome", "running")
        self._runs[name] = found
        return found

    def _new(self) -> bool:
        return bool(self.experiment_id) and self._fresh

    def _find(self, name: str) -> _Run | None:
        tag = f"tags.`kurabe.trial_key` = '{name}'"
        if name.startswith("study:"):
            tag = f"tags.`kurabe.kind` = 'study' and tags.`kurabe.study` = '{name.removeprefix('study:')}'"
        found = self.client.search_runs([self.experiment_id], tag, max_results=1, order_by=["start_time ASC"])
        if not found:
            return None
        data, run_id = found[0].data, found[0].info.run_id
        steps: set[int] = set()
        if "seconds" in data.metrics:  # in every report, and always finite
            steps = {metric.step for metric in self.client.get_metric_history(run_id, "seconds")}
        outcome = data.tags.get("kurabe.outcome", "")
        return _Run(run_id, steps, dict(data.metrics), set(data.params), outcome)

    def _has_ended(self, name: str, event: Event) -> bool:
        """Whether MLflow already has this row with this outcome and its last evaluation."""
        run = self._runs.get(name) or (None if self._new() else self._find(name))
        if run is None or run.outcome != event["closed"]["tags"]["kurabe.outcome"]:
            return False
        last = max((m[3] for log in event["logs"] for m in log["metrics"]), default=None)
        return last is None or last in run.steps or not run.steps


@dataclass
class _Batch:
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def parts(self) -> list[tuple[list[Any], list[Any], list[Any]]]:
        """Cut to what one log_batch may hold."""
        metrics, params, tags = list(self.metrics), list(self.params.items()), list(self.tags.items())
        found: list[tuple[list[Any], list[Any], list[Any]]] = []
        while metrics or params or tags:
            p, params = params[:MAX_PARAMS_OR_TAGS], params[MAX_PARAMS_OR_TAGS:]
            t, tags = tags[:MAX_PARAMS_OR_TAGS], tags[MAX_PARAMS_OR_TAGS:]
            room = min(MAX_METRICS, MAX_ENTITIES - len(p) - len(t))
            m, metrics = metrics[:room], metrics[room:]
            found.append((m, p, t))
        return found


def wait_seconds(failures: int) -> float:
    """Back-off after so many failures in a row: 1, 2, 4, ... at most 30 s."""
    return min(30.0, 2.0 ** max(0, failures - 1))
