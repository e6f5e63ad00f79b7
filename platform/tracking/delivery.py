"""Brings runs to MLflow, each exactly once in effect, with MlflowClient and explicit run ids only.

The fluent API (`mlflow.start_run` and friends) is never used: it follows MLFLOW_RUN_ID and the like from the
environment and keeps a global active run. The runs of the experiment are fetched once, so that a continued sweep
reopens its own; steps that a run already has are not logged again, and one that has everything stays as it is.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.core.colours import method_colours
from platform.core.files import free_name
from platform.core.redaction import redact, redact_command
from platform.tracking.experiment_page import ExperimentPage, knows_views
from platform.tracking.limits import tag_values
from platform.tracking.log_batch import LogBatch
from platform.tracking.logged_model import how_to_use, log_model
from platform.tracking.metric_names import SECONDS
from platform.tracking.run_content import (
    NOTE,
    OUTCOME,
    Artifact,
    Closing,
    DataSet,
    RunContent,
    filter_of,
    key_of,
)
from platform.tracking.study_content import StudyContent
from platform.tracking.views import METHODS, link

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from platform.core.row import SweepInfo

PAGE_RUNS = 1000
SWEEP = "kurabe.sweep"
PARENT = "mlflow.parentRunId"
DIGITS = 12  # of a hash, as in every table
MODEL = "kurabe.model"
"""Tag of a study's run: id of its winner as a logged model, or why there is none."""

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
class RunState:
    """The known state of a run in MLflow. steps: of its evaluations; None = MLflow was not asked.

    opened: this session has compared its parameters. sent, data_sets: what this session has
    delivered of them.
    """

    id: str
    status: str = "RUNNING"
    tags: dict[str, str] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    latest: dict[str, float] = field(default_factory=dict)
    steps: set[int] | None = None
    opened: bool = False
    sent: set[Artifact] = field(default_factory=set)
    data_sets: list[DataSet] = field(default_factory=list)

    def holds(self, closing: Closing) -> bool:
        """Whether the whole content is there: tags are written after all metrics."""
        return bool(closing.proof) and closing.proof.items() <= self.tags.items()


class Delivery:
    """The experiment of one sweep in one tracking store.

    info.id (Ledger.id) is a tag of the experiment. One of that name which another sweep made (a folder begun anew with
    --fresh, say) is renamed NAME.1, NAME.2, ... as such folders are; "" takes any. version: of the MLflow whose pages
    show it.
    """

    def __init__(self, uri: str, info: SweepInfo, artifacts: Path | None = None, version: str = "") -> None:
        self.uri, self.info, self.artifacts, self.version = uri, info, artifacts, version
        self._client: MlflowClient | None = None
        self._experiment_id = ""
        self._page: ExperimentPage | None = None  # as it was delivered
        self._colours = method_colours(info.methods)
        self._runs: dict[str, RunState] | None = None  # None: not fetched
        self._uncertain: set[str] = set()  # keys of runs at which something went wrong: to be looked up anew

    def deliver(self, content: RunContent) -> None:
        """Send what the run lacks. Raises what MLflow raises; the same content may then be tried again."""
        try:
            self._connect()
            self._bring(content)
        except Exception:
            (self._runs or {}).pop(content.key, None)
            self._uncertain.add(content.key)
            raise

    @property
    def client(self) -> MlflowClient:
        if self._client is None:
            from mlflow import MlflowClient

            self._client = MlflowClient(self.uri)
        return self._client

    @property
    def links(self) -> list[str]:
        """Addresses below the server's: the view of methods, as table and as charts; none before anything arrived."""
        if not self._experiment_id:
            return []
        view = METHODS if knows_views(self.version) else ""
        return [link(self._experiment_id, view), link(self._experiment_id, view, charts=True)]

    def show(self, page: ExperimentPage) -> None:
        """Write the experiment's page, where it is another than before. Raises what MLflow raises."""
        self._connect()
        if page != self._page:
            for name, text in page.tags(self._experiment_id, self.version).items():
                self.client.set_experiment_tag(self._experiment_id, name, text)
            self._page = page

    def give_up_page(self, page: ExperimentPage) -> None:
        """Take it as shown: MLflow refused it for good."""
        self._page = page

    # -- the experiment ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Open the experiment and fetch its runs; each once."""
        if not self._experiment_id:
            self._open_experiment()
        if self._runs is None:
            self._runs = self._fetch()

    def _open_experiment(self) -> None:
        found = self._find_experiment()
        if found is None:
            place = self.artifacts.absolute().as_uri() if self.artifacts is not None else None
            tags = {SWEEP: self.info.id} if self.info.id else None
            self._experiment_id = self.client.create_experiment(self.info.name, place, tags)
            return
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        self._experiment_id = found.experiment_id

    def _find_experiment(self) -> Any:
        """The experiment of this sweep, under whatever name; None where there is none, and the name is free then."""
        from mlflow.entities import ViewType

        name, id = self.info.name, self.info.id
        named = self.client.get_experiment_by_name(name)
        if not id or (named is not None and named.tags.get(SWEEP) == id):
            return named
        mine = self.client.search_experiments(
            view_type=ViewType.ALL, max_results=1, filter_string=f"tags.`{SWEEP}` = '{id}'"
        )
        if not mine and named is not None:
            if named.lifecycle_stage == "deleted":  # only an active one can be renamed
                self.client.restore_experiment(named.experiment_id)
            aside = free_name(
                lambda number: f"{name}.{number}",
                lambda name: self.client.get_experiment_by_name(name) is not None,
            )
            self.client.rename_experiment(named.experiment_id, aside)
            if named.lifecycle_stage == "deleted":
                self.client.delete_experiment(named.experiment_id)
        return mine[0] if mine else None

    def _fetch(self) -> dict[str, RunState]:
        """All runs of the experiment, by key; of two with the same key the older one."""
        found: dict[str, RunState] = {}
        token: str | None = None
        while True:
            runs = self.client.search_runs(
                [self._experiment_id],
                max_results=PAGE_RUNS,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            for run in runs:
                found.setdefault(key_of(run.data.tags), _state(run))
            token = runs.token
            if not token:
                return found

    # -- one run -----------------------------------------------------------------------------------------------------

    def _bring(self, content: RunContent) -> None:
        """Send all that is missing in one log_batch, as far as MLflow's limits allow; the status last."""
        closing = content.closing()
        run = self._find(content.key)
        if run is not None and content.is_of_another(run.tags):
            self._delete(content.key, run)
            run = None
        if run is None or closing is None or not run.holds(closing):
            run = run or self._create(content)
            self._send_data_sets(run, content)
            self._send(run, self._missing(run, content, closing))
            run.opened = True
            for artifact in content.artifacts():
                self._send_artifact(run, artifact)
            if closing is not None and isinstance(content, StudyContent):
                self._send_model(run, content, closing)
        if closing is not None and run.status != closing.status:  # also of a run that a kill left between the two
            self.client.set_terminated(run.id, closing.status, closing.end)
            run.status = closing.status

    def _missing(self, run: RunState, content: RunContent, closing: Closing | None) -> LogBatch:
        batch = LogBatch()
        params = ({} if run.opened else content.opening().params) | (closing.params if closing is not None else {})
        batch.params = {k: v for k, v in params.items() if k not in run.params}
        batch.metrics = content.metrics(content.steps() - self._steps(run, content))
        latest = run.latest | {name: value for name, value, *_ in batch.metrics}
        values = closing.metrics if closing is not None else content.so_far()
        batch.metrics += [point for point in values if latest.get(point[0]) != point[1]]
        if closing is not None:
            batch.tags = dict(closing.tags)
            if NOTE in batch.tags and MODEL in run.tags:
                batch.tags[NOTE] += how_to_use(run.tags[MODEL])
        elif run.status != "RUNNING" or run.tags.get(OUTCOME) != "running":
            self.client.update_run(run.id, status="RUNNING")
            run.status = "RUNNING"
            batch.tags = {OUTCOME: "running"}
        return batch

    def _steps(self, run: RunState, content: RunContent) -> set[int]:
        # Not while there is nothing to compare: a trial whose evaluations the ledger lost sends them again later.
        if run.steps is None and content.steps():
            known = SECONDS in run.latest  # in every report, and always finite
            history = self.client.get_metric_history(run.id, SECONDS) if known else []
            run.steps = {metric.step for metric in history}
        return run.steps or set()

    def _send_data_sets(self, run: RunState, content: RunContent) -> None:
        from mlflow.data.code_dataset_source import CodeDatasetSource
        from mlflow.entities import Dataset, DatasetInput, InputTag

        new = [one for one in content.data_sets() if one not in run.data_sets]
        if not new:
            return
        kind = CodeDatasetSource._get_source_type()
        source = json.dumps({"tags": {"mlflow.source.name": redact_command(self.info.command)}})
        inputs = [
            DatasetInput(
                Dataset(one.name, one.hash[:DIGITS], kind, source, profile=json.dumps({"hash": one.hash})),
                [InputTag("mlflow.data.context", one.use)],
            )
            for one in new
        ]
        self.client.log_inputs(run.id, inputs)
        run.data_sets += new

    def _send_model(self, run: RunState, content: StudyContent, closing: Closing) -> None:
        """Log the winner as a model, once. A network that cannot be exported is no reason to lack anything else."""
        if content.winner is None or content.model is None or run.tags.get(MODEL, "").startswith("m-"):
            return
        try:
            made = "none: its weights were not kept, or a signal ended the sweep"
            if (model := content.model(content.winner)) is not None:
                points = [point for point in closing.metrics if point[0] in ("score", "test_accuracy")]
                params = {k: v for k, v in closing.params.items() if k in content.winner.params}
                params |= {"method": content.method}
                made = log_model(self.client, self._experiment_id, run.id, content.study, model, params, points)
        except Exception as error:
            if passes(error):
                raise
            made = redact(f"none: {error}".splitlines()[0])
        tags = {MODEL: made, NOTE: closing.tags.get(NOTE, "") + how_to_use(made)}
        self._send(run, LogBatch(tags=tag_values(tags)))

    def _send(self, run: RunState, batch: LogBatch) -> None:
        from mlflow.entities import Metric, Param, RunTag

        for metrics, params, tags in batch.parts():
            self.client.log_batch(
                run.id,
                [Metric(key, value, at, step) for key, value, at, step in metrics],
                [Param(key, value) for key, value in params],
                [RunTag(key, value) for key, value in tags],
                synchronous=True,
            )
        run.params |= batch.params.keys()
        run.tags |= batch.tags
        run.latest |= {key: value for key, value, *_ in batch.metrics}
        if run.steps is not None:
            run.steps |= {step for *_, step in batch.metrics}

    def _send_artifact(self, run: RunState, artifact: Artifact) -> None:
        if artifact in run.sent:
            return
        if artifact.text is not None:
            self.client.log_text(run.id, artifact.text, artifact.path)
        elif Path(artifact.path).exists():
            self.client.log_artifact(run.id, artifact.path, artifact.folder or None)
        run.sent.add(artifact)

    def _create(self, content: RunContent) -> RunState:
        opening = content.opening()
        tags = dict(opening.tags)
        if colour := self._colours.get(tags.get("kurabe.method", "")):
            tags["mlflow.runColor"] = colour
        if content.parent and (parent := self._find(content.parent)) is not None:
            tags[PARENT] = parent.id
        run = self.client.create_run(self._experiment_id, opening.start, tags, opening.name)
        state = RunState(run.info.run_id, tags=tags, steps=set())
        assert self._runs is not None
        self._runs[content.key] = state
        self._adopt(state)
        return state

    def _adopt(self, parent: RunState) -> None:
        """Make the trials of a study, whose earlier run is gone, children of this one."""
        assert self._runs is not None
        if parent.tags.get("kurabe.kind") != "study":
            return
        for run in self._runs.values():
            of_study = run.tags.get("kurabe.study") == parent.tags.get("kurabe.study")
            if run is not parent and of_study and run.tags.get(PARENT) != parent.id:
                self.client.set_tag(run.id, PARENT, parent.id)
                run.tags[PARENT] = parent.id

    def _delete(self, key: str, run: RunState) -> None:
        """Delete a study's run, and the model that it logged: another trial is the winner now."""
        assert self._runs is not None
        if run.tags.get(MODEL, "").startswith("m-"):
            with contextlib.suppress(Exception):  # somebody deleted it
                self.client.delete_logged_model(run.tags[MODEL])
        self.client.delete_run(run.id)
        self._runs.pop(key, None)

    def _find(self, key: str) -> RunState | None:
        assert self._runs is not None
        if key in self._uncertain:
            found = self.client.search_runs(
                [self._experiment_id], filter_of(key), max_results=1, order_by=["attributes.start_time ASC"]
            )
            if found:
                self._runs[key] = _state(found[0])
            self._uncertain.discard(key)
        return self._runs.get(key)


def _state(run: Any) -> RunState:
    """The state of a run that MLflow returned."""
    data, info = run.data, run.info
    return RunState(info.run_id, info.status, dict(data.tags), set(data.params), dict(data.metrics))


def wait_seconds(failures: int) -> float:
    """Back-off after so many failures in a row: 1, 2, 4, ... at most 30 s."""
    return min(30.0, 2.0 ** max(0, failures - 1))
