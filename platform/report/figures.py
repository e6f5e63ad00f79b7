"""The figures of a sweep: learning curves, score against each searched value, methods side by side.

figures/METHOD/learning_curves.png      figures/METHOD/score_by_hyperparameter.png      figures/methods.png
Figures of diagnostics: layer_figures.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from platform.core.colours import OKABE_ITO
from platform.core.row import Row, SweepInfo, winner
from platform.report import layer_figures, pareto
from platform.report.standings import Standing, standings
from platform.report.trial_tables import replace

BLUE, RED, GREEN, PINK, ORANGE, SKY = OKABE_ITO
GREY = "#767676"
STUDIES = OKABE_ITO
OUTCOMES = {
    "completed": ("o", BLUE, "completed"),
    "pruned": ("v", ORANGE, "stopped early (score where it was stopped)"),
    "diverged": ("x", RED, "diverged (no score)"),
    "failed": ("+", GREY, "failed (no score)"),
    "preempted": ("d", PINK, "interrupted"),
}
LABELS = {
    "noisy_val_accuracy": "validation accuracy (labels as given)",
    "clean_val_accuracy": "validation accuracy (true labels)",
    "val_clid": "CLID on the validation images",
    "val_loss": "validation loss",
}
CURVES = ("score", "test_accuracy")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "text.parse_math": False,  # names are text: a dollar sign begins no formula
}


def available(info: SweepInfo, rows: Sequence[Row]) -> dict[str, Callable[[], Figure]]:
    """Every figure that the rows allow: what draws it, by the name of its file without .png, in the order of a report.

    To be drawn, and saved, under `matplotlib.rc_context(STYLE)`.
    """
    found: dict[str, Callable[[], Figure]] = {}
    for method in info.methods:
        trials = [row for row in rows if row.method == method and not row.repeat]
        if any(math.isfinite(r.get(k, math.nan)) for t in trials for r in t.reports for k in CURVES):
            found[f"{method}/learning_curves"] = partial(learning_curves, info, method, trials)
        if any(row.score is not None for row in trials) and any(row.params for row in trials):
            found[f"{method}/score_by_hyperparameter"] = partial(score_by_hyperparameter, info, method, trials)
        if layer_figures.has_trust(trials):
            found[f"{method}/label_trust"] = partial(layer_figures.label_trust, info, method, trials, STUDIES)
    if layer_figures.stages_known(info, rows):
        found["layers"] = partial(layer_figures.layers, info, rows, STUDIES)
    if pareto.asked_for(info) and any(pareto.fronts(info, rows).values()):
        found["pareto"] = partial(pareto.figure, info, rows, STUDIES)
    ranked = standings(info, rows)
    if len(info.methods) > 1 and any(s.score for s in ranked):
        found["methods"] = partial(methods_side_by_side, info, ranked)
    return found


def draw_all(info: SweepInfo, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Every figure that the rows allow; the files made."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        return [_save(draw(), folder / f"{name}.png") for name, draw in available(info, rows).items()]


def label_of(name: str, info: SweepInfo) -> str:
    """The name of a metric, for people."""
    return info.test_accuracy_name if name == "test_accuracy" else LABELS.get(name, name.replace("_", " "))


def percent(value: float, _: int) -> str:
    """A share of one as a mark of an axis."""
    return f"{100 * value:g}%"


# -- learning curves -----------------------------------------------------------------------------------------------


def learning_curves(info: SweepInfo, method: str, rows: Sequence[Row]) -> Figure:
    """Score and test accuracy over training steps: every trial thin, the winner of each study bold."""
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    names = {"score": info.select, "test_accuracy": "test_accuracy"}  # a report's key: what it measures
    share = all(name.endswith("accuracy") for name in names.values())
    axes = figure.subplots(1, 2, sharey=share)
    studies = list(dict.fromkeys(row.study for row in rows))
    winners = {s: winner([row for row in rows if row.study == s], info.maximise) for s in studies}
    for axis, (key, name) in zip(axes, names.items(), strict=True):
        for row in rows:
            if row is not winners[row.study]:
                _curve(axis, row, key, color="#9fb4c2", linewidth=0.8, alpha=0.8, zorder=2)
        for study, colour in zip(studies, _colours(len(studies)), strict=True):
            if (best := winners[study]) is not None:
                label = "winner" if len(studies) == 1 else f"winner of study {study.rpartition('/')[2]}"
                _curve(axis, best, key, color=colour, linewidth=2.4, zorder=3, label=label, marker="o", markersize=3.5)
        axis.set_title(label_of(name, info) + ("" if key == "score" else ", never selected on"))
        axis.set_xlabel("training step")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if name.endswith("accuracy"):
            axis.yaxis.set_major_formatter(FuncFormatter(percent))
    axes[0].set_ylabel("accuracy" if share else label_of(info.select, info))
    handles, labels = axes[0].get_legend_handles_labels()
    handles.append(Line2D([], [], color="#9fb4c2", linewidth=0.8))
    place = "lower right" if info.maximise else "upper right"
    axes[0].legend(handles[:7], [*labels[:6], "other trials"], loc=place, fontsize=9)
    if len(handles) > 7:
        axes[0].legend(handles[-1:], ["other trials; bold: winners"], loc=place, fontsize=9)
    figure.suptitle(f"{method}: learning curves of {len(rows)} trials ({info.name})", fontsize=12)
    return figure


def _curve(axis: Axes, row: Row, key: str, **style: Any) -> None:
    points = [(r["step"], r[key]) for r in row.reports if key in r and math.isfinite(r[key])]
    if points:
        dot = {"marker": "o", "markersize": 2} if len(points) == 1 else {}
        (line,) = axis.plot(*zip(*points, strict=True), **dot | style)
        line.set_gid(trials_id([row.key]))


def _colours(count: int) -> list[str]:
    return [STUDIES[i % len(STUDIES)] for i in range(count)]


# -- score against each searched value -----------------------------------------------------------------------------


def score_by_hyperparameter(info: SweepInfo, method: str, rows: Sequence[Row]) -> Figure:
    """One panel per searched value. Trials without a score are drawn at the lower edge."""
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    columns = min(3, len(names))
    lines = math.ceil(len(names) / columns)
    figure = Figure(figsize=(max(6.4, 3.6 * columns), 3.3 * lines + 1.1), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    best = winner(rows, info.maximise)
    scored = [row.score for row in rows if row.score is not None]
    margin = 0.08 * ((max(scored) - min(scored)) or 0.1)
    low, high = min(scored) - margin, max(scored) + margin
    floor = low - 1.2 * margin if any(row.score is None for row in rows) else low
    for axis, name in zip(grid.flat, names, strict=False):
        _panel(axis, name, rows, best, floor)
        axis.set_ylim(floor - (margin if floor < low else 0), high)
        axis.set_xlabel(name)
        if info.select.endswith("accuracy"):
            axis.yaxis.set_major_formatter(FuncFormatter(percent))
    for axis in grid.flat[len(names) :]:
        axis.set_visible(False)
    for axis in grid[:, 0]:
        axis.set_ylabel(f"score: {label_of(info.select, info)}" if lines == 1 and columns > 1 else "score")
        axis.yaxis.label.set_size(9)
    figure.legend(
        handles=_legend(rows, best), loc="outside lower center", ncols=min(2 if columns < 3 else 3, 4), fontsize=9
    )
    score = f"score: {label_of(info.select, info)}"
    figure.suptitle(f"{method}: score by each searched value ({info.name}, {score})", fontsize=12)
    return figure


def _panel(axis: Axes, name: str, rows: Sequence[Row], best: Row | None, floor: float) -> None:
    values = [row.params[name] for row in rows if name in row.params]
    places = places_of(values)
    if places is not None:
        axis.set_xticks(range(len(places)), list(places))
        axis.set_xlim(-0.6, len(places) - 0.4)
        axis.grid(False, axis="x")
    elif min(values) > 0 and max(values) / min(values) >= 20:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    points: dict[str, list[tuple[float, float, str]]] = {}
    for number, row in enumerate(row for row in rows if name in row.params):
        value = row.params[name]
        x = value if places is None else places[str(value)] + ((number * 0.618) % 1 - 0.5) * 0.35
        y = floor if row.score is None else row.score
        points.setdefault(row.outcome or "preempted", []).append((x, y, row.key))
        if row is best:
            axis.plot(x, y, "o", markersize=13, fillstyle="none", color="black", markeredgewidth=1.4, zorder=4)
    for outcome, found in points.items():
        marker, colour, _ = OUTCOMES[outcome]
        x, y, keys = zip(*found, strict=True)
        width = 1.6 if marker in "x+" else 0
        axis.plot(x, y, marker, color=colour, ms=6.5, alpha=0.85, mew=width, gid=trials_id(keys))


def trials_id(keys: Iterable[str]) -> str:
    """The gid of an artist that shows these trials, a point each, or one trial as a line: report.html finds them."""
    return "trials:" + ",".join(keys)


def places_of(values: Sequence[Any]) -> dict[str, int] | None:
    """Positions of categories: text, booleans, and few whole numbers (batch sizes); None for a number line."""
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    if numbers and (len(set(values)) > 7 or any(isinstance(v, float) for v in values)):
        return None
    ordered = sorted(set(values)) if numbers else sorted(set(values), key=str)
    return {str(value): place for place, value in enumerate(ordered)}


def _legend(rows: Sequence[Row], best: Row | None) -> list[Line2D]:
    present = {row.outcome or "preempted" for row in rows}
    handles = [
        Line2D(
            [], [], linestyle="", marker=marker, color=colour, label=label, markeredgewidth=1.6 if marker in "x+" else 0
        )
        for outcome, (marker, colour, label) in OUTCOMES.items()
        if outcome in present
    ]
    if best is not None:
        ring = Line2D([], [], linestyle="", marker="o", markersize=11, fillstyle="none", color="black", label="best")
        handles.append(ring)
    return handles


# -- methods side by side ------------------------------------------------------------------------------------------


def methods_side_by_side(info: SweepInfo, ranked: Sequence[Standing]) -> Figure:
    """The compared trials (repeats, else winners) as points, the mean with its 95 % interval as a bar."""
    shown = [standing for standing in ranked if standing.winners][::-1]
    figure = Figure(figsize=(9.6, 1.6 + 0.5 * len(shown)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, test in zip(axes, (False, True), strict=True):
        name = "test_accuracy" if test else info.select
        for place, standing in enumerate(shown):
            _standing(axis, place, standing, test)
        axis.set_title(label_of(name, info) + (", never selected on" if test else ""))
        if name.endswith("accuracy"):
            axis.xaxis.set_major_formatter(FuncFormatter(percent))
        axis.xaxis.set_major_locator(MaxNLocator(6))
    axes[0].set_yticks(range(len(shown)), [standing.method for standing in shown])
    axes[0].set_ylim(-0.6, len(shown) - 0.4)
    several = any(len(standing.compared) > 1 for standing in shown)
    points = "repeats of winners" if any(standing.on_repeats for standing in shown) else "studies"
    note = f"points: {points}; bar: mean and 95 % interval" if several else "one study per method: no interval"
    figure.suptitle(f"{info.name}: winners of {len(shown)} methods under one budget ({note})", fontsize=12)
    return figure


def _standing(axis: Axes, place: int, standing: Standing, test: bool) -> None:
    values = [row.test_accuracy if test else row.score for row in standing.compared]
    mean = standing.test_accuracy if test else standing.score
    points = [value for value in values if value is not None]
    axis.plot(points, [place] * len(points), "o", color=SKY, markersize=6, alpha=0.8, zorder=2)
    if mean is None:
        return
    if mean.low is not None and mean.high is not None:
        axis.plot([mean.low, mean.high], [place, place], color=BLUE, linewidth=2.5, zorder=1)
        axis.plot(mean.value, place, "|", color=BLUE, markersize=14, markeredgewidth=2.5, zorder=3)


def _save(figure: Figure, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, lambda temporary: figure.savefig(temporary, format="png"))
    return path
