"""Saved views of an experiment's page of runs: which runs, columns and charts MLflow shows before anybody clicks.

A view is an experiment tag, mlflow.sharedViewState.KEY, whose value is what MLflow's own *Save view* writes: a name,
two times and the page's state as JSON. The format is not documented and belongs to the version of the server; it is
known for those of KNOWN_VERSIONS (read from their JavaScript sources, and tried). Others get no views.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from platform.core.row import SweepInfo
from platform.tracking.run_content import OUTCOME, WINNER

__all__ = ["FAILED", "KNOWN_VERSIONS", "METHODS", "TRIALS", "WINNERS", "has_view", "link", "view_tags"]

KNOWN_VERSIONS = ("3.17",)
METHODS, BOARD, TRIALS, WINNERS, FAILED = "methods", "leaderboard", "trials", "winners", "failed"
"""Keys of the views in links."""

_PREFIX = "mlflow.sharedViewState."
_MOST_PARAMS = 12  # columns of searched values
_TRIAL = "tags.`kurabe.kind` = 'trial'"
_STUDY = "tags.`kurabe.kind` = 'study'"
_SECTIONS = ("val", "test", "train", "loss", "diag", "layer", "Model metrics", "System metrics")
"""MLflow's own sections of the other curves, one for each prefix; folded, below ours."""

_ALWAYS = {"attributes.`Run Name`": 170, "runDateAndNestInfo": 50}
"""Columns that MLflow always shows, name and age of the run, and how wide they are, in pixels."""

_WIDTHS = {
    "params.`study`": 60,
    "params.`winner`": 75,
    "metrics.`score`": 85,
    "metrics.`test_accuracy`": 105,
    "metrics.`difference`": 90,
    "metrics.`difference_low`": 110,
    "metrics.`difference_high`": 110,
    "metrics.`cost`": 75,
}


def link(experiment_id: str, view: str = "", charts: bool = False) -> str:
    """Address of an experiment's runs below the server's, in MLflow's mode for model training."""
    words = [f"viewStateShareKey={view}"] if view else []
    words += ["compareRunsMode=CHART"] if charts else []
    return f"#/experiments/{experiment_id}/runs?" + "&".join([*words, "workflowType=machine_learning"])


def has_view(tags: Mapping[str, str], view: str) -> bool:
    """Whether an experiment with these tags has that view."""
    return _PREFIX + view in tags


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
    numbers += ["difference", "cost", "difference_low", "difference_high"]
    columns = ["params.`method`", "params.`study`", *(f"metrics.`{name}`" for name in numbers)]
    columns += ["params.`winner`", *_searched(info)]
    return _state(_STUDY, ("metrics.`rank`", True), columns, _questions_of_methods(info, metric))


def _board(info: SweepInfo, metric: str) -> dict[str, Any]:
    """The same grouped by method: means over studies, the numbers of the leaderboard."""
    state = _methods(info, metric)
    state["selectedColumns"] = [name for name in state["selectedColumns"] if name.startswith("metrics.")]
    grouped = {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "method"}]}
    return state | {"groupBy": grouped, "useGroupedValuesInCharts": True}


def _winners(info: SweepInfo) -> dict[str, Any]:
    questions = {
        "How did the winners learn?": [_line("test/test_accuracy"), _line("val/score"), _line("train/train_loss")],
        "Where did they end?": [_bar("test_accuracy"), _bar("score")],
    }
    search = f"{_TRIAL} and tags.`{WINNER}` = 'yes'"
    return _state(search, ("metrics.`score`", not info.maximise), _of_trials(info), questions)


def _trials(info: SweepInfo) -> dict[str, Any]:
    """Trials by final score; those that were stopped early have none and come last."""
    searched = [name.removeprefix("params.`").rstrip("`") for name in _searched(info)]
    parallel = _card("PARALLEL", selectedParams=searched[:6], selectedMetrics=["score"], showAllRuns=True)
    questions = {
        "Which values are good?": [*([parallel] if searched else []), *(_against_score(name) for name in searched[:3])],
        "How did the trials go?": [_line("val/score"), _scatter(("METRIC", "cost"), ("METRIC", "score"))],
    }
    search = f"{_TRIAL} and attributes.status != 'FAILED'"
    return _state(search, ("metrics.`score`", not info.maximise), _of_trials(info), questions)


def _against_score(name: str) -> dict[str, Any]:
    return _scatter(("PARAM", name), ("METRIC", "score"))


def _failed(info: SweepInfo) -> dict[str, Any]:
    columns = [f"tags.`{OUTCOME}`", "tags.`kurabe.reason`", "attributes.`Description`", *_searched(info)]
    questions = {"When did the loss go wrong?": [_line("train/train_loss")]}
    return _state(f"{_TRIAL} and attributes.status = 'FAILED'", ("attributes.start_time", False), columns, questions)


def _of_trials(info: SweepInfo) -> list[str]:
    columns = ["metrics.`score`", "metrics.`test_accuracy`", "metrics.`cost`"]
    return [*columns, f"tags.`{WINNER}`", f"tags.`{OUTCOME}`", "tags.`kurabe.method`", *_searched(info)]


def _searched(info: SweepInfo) -> list[str]:
    """Columns of the searched values, which stand without their method's name in a trial's parameters."""
    searched = info.resolved.get("search") or {}
    names = dict.fromkeys(name.removeprefix(f"{m}.") for name in searched for m in info.methods)
    names = [name for name in names if not any(name.startswith(f"{m}.") for m in info.methods)]
    return [f"params.`{name}`" for name in names[:_MOST_PARAMS]]


def _questions_of_methods(info: SweepInfo, metric: str) -> dict[str, list[dict[str, Any]]]:
    """MLflow heads a chart with the metric's key alone, so the sections say what their charts answer."""
    curve = "test/test_accuracy" if metric == "test_accuracy" else "val/score"
    return {
        "Which method is better? Winners, and how they learnt": [_bar(metric), _line(curve)],
        "By how much? To the reference, on the same study": [_bar("difference"), _bar("score")],
        "At what cost? Device-seconds of the search": [_scatter(("METRIC", "cost"), ("METRIC", metric)), _bar("cost")],
        f"Best score so far ({info.select}) against trials": [_line("score")],
    }


# -- the state of MLflow's page ----------------------------------------------------------------------------------------


def _state(
    search: str, order: tuple[str, bool], columns: Sequence[str], questions: Mapping[str, Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    """order: column, ascending. questions: sections of charts by their names."""
    ours = {"display": True, "isReordered": True, "columns": 2, "cardHeight": 330}
    sections = [{"uuid": f"kurabe-{i}", "name": name, **ours} for i, name in enumerate(questions)]
    folded = {"display": False, "isReordered": False}
    sections += [{"uuid": f"kurabe-{name}", "name": name, **folded} for name in _SECTIONS]
    cards = [card | {"metricSectionId": f"kurabe-{i}"} for i, found in enumerate(questions.values()) for card in found]
    return {
        "searchFilter": search,
        "orderByKey": order[0],
        "orderByAsc": order[1],
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(columns),
        "columnOrder": [*_ALWAYS, *columns],
        "columnWidths": _ALWAYS | {name: _WIDTHS.get(name, 100) for name in columns},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [card | {"uuid": f"kurabe-chart-{i}"} for i, card in enumerate(cards)],
        "compareRunSections": [section | {"deleted": False, "isGenerated": False} for section in sections],
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }


def _card(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "runsCountToCompare": 100, "deleted": False, "isGenerated": False} | more


def _bar(metric: str) -> dict[str, Any]:
    return _card("BAR", metricKey=metric)


def _line(metric: str) -> dict[str, Any]:
    axes = {"xAxisKey": "step", "yAxisKey": "metric", "selectedXAxisMetricKey": "", "yAxisExpressions": []}
    axes |= {"xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0, "range": {}}
    own = {"useGlobalXaxisKey": False, "useGlobalLineSmoothing": False, "ignoreOutliers": False}
    return _card("LINE", metricKey=metric, selectedMetricKeys=[metric], **axes, **own)


def _scatter(x: tuple[str, str], y: tuple[str, str]) -> dict[str, Any]:
    return _card("SCATTER", xaxis={"type": x[0], "key": x[1]}, yaxis={"type": y[0], "key": y[1]})
