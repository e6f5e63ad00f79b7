"""The content of a run in MLflow as it should be. `Delivery` compares it with what is there, and sends what is not."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from platform.core.redaction import redact
from platform.core.row import Row
from platform.tracking.limits import MAX_PARAM, cut
from platform.tracking.metric_names import PLACE, curve_name, metric_name

OUTCOME = "kurabe.outcome"
NOTE = "mlflow.note.content"
WINNER = "kurabe.winner"

MetricPoint = tuple[str, float, int, int]
"""Name, value, time in ms, step."""


def now() -> int:
    """Milliseconds, as MLflow counts time."""
    return int(time.time() * 1000)


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
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A file below `folder` of the run's artefacts: `text` under the name `path`, or a copy of the file at `path`."""

    path: str
    folder: str = ""
    text: str | None = None


@dataclass(frozen=True)
class DataSet:
    """Images or labels that a run used. hash: of their content, as in a trial's key. use: training, labels."""

    name: str
    hash: str
    use: str


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

    def so_far(self) -> list[MetricPoint]:
        """Values that a run has before its end and that may change; only those that did are sent."""
        return []

    def steps(self) -> set[int]:
        """The steps of the evaluations it holds."""
        return set()

    def metrics(self, steps: set[int]) -> list[MetricPoint]:
        """The evaluations at `steps`, in order."""
        return []

    def artifacts(self) -> list[Artifact]:
        """Files to show beside it."""
        return []

    def data_sets(self) -> list[DataSet]:
        """What it was trained on."""
        return []

    def is_of_another(self, tags: Mapping[str, str]) -> bool:
        """Whether the run with these tags holds parameters and curves that are not to be mixed with this content's."""
        return False


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


def curves(
    reports: Sequence[Mapping[str, Any]], steps: Collection[int], times: Mapping[int, int], only: tuple[str, ...] = ()
) -> list[MetricPoint]:
    """The reports at `steps` as points of curves. times: in ms by step; where one is missing, now.

    only: prefixes of the keys wanted; none = all. A value that is not finite has no place on a chart and is left out.
    """
    found: list[MetricPoint] = []
    for report in reports:
        step = int(report["step"])
        if step not in steps:
            continue
        at = times.get(step) or now()
        values = {curve_name(k): v for k, v in report.items() if k not in PLACE and isinstance(v, (int, float))}
        found += [
            (name, float(value), at, step)
            for name, value in values.items()
            if math.isfinite(value) and (not only or name.startswith(only))
        ]
    return found


def final(values: Mapping[str, float | None], at: int, step: int) -> list[MetricPoint]:
    """The known ones of these values as points of metrics of that name."""
    return [(metric_name(k), float(v), at, step) for k, v in values.items() if v is not None and math.isfinite(v)]


def parameters(row: Row) -> dict[str, str]:
    """The searched values by their names, then everything else that was resolved: hyper, train, model, data, labels."""
    spec = row.spec
    flat = _flatten(spec.hyper)
    flat |= _flatten(spec.train.model_dump(mode="json"), "train.")
    flat |= {"model": spec.model}
    flat |= _flatten(spec.data.model_dump(mode="json"), "data.")
    flat |= _flatten(spec.labels.model_dump(mode="json"), "labels.")
    flat |= _flatten(spec.seeds, "seeds.")
    known = row.params | {name: value for name, value in flat.items() if name not in row.params}
    return {metric_name(k): cut(redact(str(v)), MAX_PARAM) for k, v in known.items()}


def searched_values(row: Row) -> str:
    """`train.lr` = 0.03, `model_ema` = 0.83: what the search chose, as Markdown."""
    shown = [f"`{k}` = {v:.4g}" if isinstance(v, float) else f"`{k}` = {v}" for k, v in row.params.items()]
    return ", ".join(shown) or "the defaults"


def data_sets_of(row: Row) -> list[DataSet]:
    """The images of a trial, and the labels of its study."""
    spec, index = row.spec, row.study.rpartition("/")[2]
    labels = f"labels of study {index}" + (f", repeat {row.repeat}" if row.repeat else "")
    found = [
        DataSet(f"{spec.data.source} images", spec.data_hash, "training"),
        DataSet(labels, spec.labels_hash, "labels"),
    ]
    return [one for one in found if one.hash]


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
