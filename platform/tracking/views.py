"""Saved views of an experiment's page of runs: which runs, columns and charts MLflow shows before anybody clicks.

A view is an experiment tag, mlflow.sharedViewState.KEY, whose value is what MLflow's own *Save view* writes: a name,
two times and the page's state as JSON. The format is not documented and belongs to the version of the server; it is
known for those of KNOWN_VERSIONS (read from their JavaScript sources, and tried). Others get no views.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from platform.core.row import SweepInfo
from platform.tracking.run_content import OUTCOME, WINNER

__all__ = ["FAILED", "KNOWN_VERSIONS", "METHODS", "TRIALS", "WINNERS", "link", "view_tags"]

KNOWN_VERSIONS = ("3.17",)
METHODS, BOARD, TRIALS, WINNERS, FAILED = "methods", "leaderboard", "trials", "winners", "failed"
"""Keys of the views in links."""

_PREFIX = "mlflow.sharedViewState."
_MOST_PARAMS = 12  # columns of searched values
_TRIAL = "tags.`kurabe.kind` = 'trial'"
_STUDY = "tags.`kurabe.kind` = 'study'"
_SECTIONS = ("val", "test", "train", "loss", "diag", "layer", "Model metrics", "System metrics")
"""MLflow's own sections of the other curves, one for each prefix; folded, below ours."""


def link(experiment_id: str, view: str = "", charts: bool = False) -> str:
    """Address of an experiment's runs below the server's, in MLflow's mode for model training."""
    words = [f"viewStateShareKey={view}"] if view else []
    words += ["compareRunsMode=CHART"] if charts else []
    return f"#/experiments/{experiment_id}/runs?" + "&".join([*words, "workflowType=machine_learning"])


def view_tags(info: SweepInfo, metric: str, at: int) -> dict[str, str]:
    """All views as tags of the experiment. metric: the one that ranks methods. at: in ms; the newest stands first."""
    views = {
        METHODS: ("Methods", _methods(info, metric)),
        BOARD: ("Methods, mean over studies", _board(info, metric)),
        WINNERS: ("Winners", _winners(info)),
        TRIALS: ("Trials", _trials(info)),
        FAILED: ("Failed and diverged trials", _failed(info)),
    }
    return {_PREFIX + key: _envelope(name, state, at - i) for i, (key, (name, state)) in enumerate(views.items())}


def _envelope(name: str, state: dict[str, Any], at: int) -> str:
    return json.dumps({"name": name, "createdAt": at, "updatedAt": at, "state": json.dumps(state)})


# -- the views ---------------------------------------------------------------------------------------------------------


def _methods(info: SweepInfo, metric: str) -> dict[str, Any]:
    """A line for each method and study, in the leaderboard's order."""
    numbers = [*dict.fromkeys([metric, "test_accuracy", "score"])]
    numbers += ["difference", "difference_low", "difference_high", "cost"]
    columns = ["params.`method`", "params.`study`", *(f"metrics.`{name}`" for name in numbers)]
    columns += ["params.`winner`", *_searched(info)]
    return _state(_STUDY, ("metrics.`rank`", True), columns, _charts_of_methods(info, metric))


def _board(info: SweepInfo, metric: str) -> dict[str, Any]:
    """The same grouped by method: means over studies, the numbers of the leaderboard."""
    state = _methods(info, metric)
    state["selectedColumns"] = [name for name in state["selectedColumns"] if name.startswith("metrics.")]
    grouped = {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "method"}]}
    return state | {"groupBy": grouped, "useGroupedValuesInCharts": True}


def _winners(info: SweepInfo) -> dict[str, Any]:
    charts = [
        _line("Score of the winners", "val/score"),
        _line(info.test_accuracy_name.capitalize() + " of the winners", "test/test_accuracy"),
        _bar("Score at the end", "score"),
        _line("Training loss of the winners", "train/train_loss"),
    ]
    return _state(
        f"{_TRIAL} and tags.`{WINNER}` = 'yes'", ("metrics.`score`", not info.maximise), _of_trials(info), charts
    )


def _trials(info: SweepInfo) -> dict[str, Any]:
    """Trials by final score; those that were stopped early have none and come last."""
    searched = [name.removeprefix("params.`").rstrip("`") for name in _searched(info)]
    charts = [
        _card("PARALLEL", "Searched values and score", selectedParams=searched[:6], selectedMetrics=["score"]),
        *(_scatter(f"Score against {name}", ("PARAM", name), ("METRIC", "score")) for name in searched[:3]),
        _line("Score while training", "val/score"),
        _scatter("Score against cost (device-seconds)", ("METRIC", "cost"), ("METRIC", "score")),
    ]
    search = f"{_TRIAL} and attributes.status != 'FAILED'"
    return _state(search, ("metrics.`score`", not info.maximise), _of_trials(info), charts)


def _failed(info: SweepInfo) -> dict[str, Any]:
    columns = [f"tags.`{OUTCOME}`", "tags.`kurabe.reason`", "attributes.`Description`", *_searched(info)]
    charts = [_line("Training loss", "train/train_loss")]
    return _state(f"{_TRIAL} and attributes.status = 'FAILED'", ("attributes.start_time", False), columns, charts)


def _of_trials(info: SweepInfo) -> list[str]:
    columns = ["metrics.`score`", "metrics.`test_accuracy`", "metrics.`cost`"]
    return [*columns, f"tags.`{WINNER}`", f"tags.`{OUTCOME}`", "tags.`kurabe.method`", *_searched(info)]


def _searched(info: SweepInfo) -> list[str]:
    """Columns of the searched values, which stand without their method's name in a trial's parameters."""
    searched = info.resolved.get("search") or {}
    names = dict.fromkeys(name.removeprefix(f"{m}.") for name in searched for m in info.methods)
    names = [name for name in names if not any(name.startswith(f"{m}.") for m in info.methods)]
    return [f"params.`{name}`" for name in names[:_MOST_PARAMS]]


def _charts_of_methods(info: SweepInfo, metric: str) -> list[dict[str, Any]]:
    accuracy = info.test_accuracy_name
    title = f"{accuracy.capitalize()} of each winner" if metric == "test_accuracy" else f"Score ({info.select})"
    curve = "test/test_accuracy" if metric == "test_accuracy" else "val/score"
    return [
        _bar(title, metric),
        _line(f"Winners' curves: {accuracy if metric == 'test_accuracy' else 'score'} against steps", curve),
        _bar("Difference to the reference, same study", "difference"),
        _scatter(f"{accuracy.capitalize()} against cost (device-seconds)", ("METRIC", "cost"), ("METRIC", metric)),
        _line(f"Best score so far ({info.select}) against trials", "score"),
        _bar("Cost of the search (device-seconds)", "cost"),
    ]


# -- the state of MLflow's page ----------------------------------------------------------------------------------------


def _state(
    search: str, order: tuple[str, bool], columns: Sequence[str], charts: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """order: column, ascending."""
    sections = [{"uuid": "kurabe", "name": "Which method is better?", "display": True, "isReordered": True}]
    sections += [{"uuid": f"kurabe-{name}", "name": name, "display": False, "isReordered": False} for name in _SECTIONS]
    return {
        "searchFilter": search,
        "orderByKey": order[0],
        "orderByAsc": order[1],
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [card | {"uuid": f"kurabe-{i}"} for i, card in enumerate(charts)],
        "compareRunSections": [section | {"deleted": False, "isGenerated": False} for section in sections],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }


def _card(kind: str, title: str, **more: Any) -> dict[str, Any]:
    common = {"type": kind, "displayName": title, "metricSectionId": "kurabe", "runsCountToCompare": 100}
    return common | {"deleted": False, "isGenerated": False} | more


def _bar(title: str, metric: str) -> dict[str, Any]:
    return _card("BAR", title, metricKey=metric)


def _line(title: str, metric: str) -> dict[str, Any]:
    axes = {"xAxisKey": "step", "yAxisKey": "metric", "selectedXAxisMetricKey": "", "yAxisExpressions": []}
    axes |= {"xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0, "range": {}}
    own = {"useGlobalXaxisKey": False, "useGlobalLineSmoothing": False, "ignoreOutliers": False}
    return _card("LINE", title, metricKey=metric, selectedMetricKeys=[metric], **axes, **own)


def _scatter(title: str, x: tuple[str, str], y: tuple[str, str]) -> dict[str, Any]:
    return _card("SCATTER", title, xaxis={"type": x[0], "key": x[1]}, yaxis={"type": y[0], "key": y[1]})
