"""The figures of a comparison: intervals, pairs, ranks, profiles, score against budget and cost, importance."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from platform.report.figures import STYLE as BASE
from platform.report.judge.budget_curves import BudgetCurve, budget_curve
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.estimate import Estimate
from platform.report.judge.hyper_importance import Importance, importances
from platform.report.judge.judgement import Judgement
from platform.report.judge.rank_tests import RankTest, performance_profile

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#767676")
"""Okabe and Ito's, told apart with every kind of colour vision; further methods take other dashes and markers, too."""
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
SURE, OPEN = "#0072B2", "#767676"
SHOWN_PAIRS = 30
STYLE: dict[Any, Any] = BASE | {"svg.hashsalt": "kurabe"}  # the same figure gives the same file


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its files, and in words what it shows."""

    name: str
    figure: Figure
    words: str


def drawings(judged: Judgement) -> list[Drawing]:
    """Every figure that the results allow, in the order of a report; none of nothing."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        makers: Sequence[Callable[[Judgement], Drawing | None]] = (
            intervals,
            pairs,
            critical_difference,
            profiles,
            best_against_budget,
            score_against_cost,
            what_mattered,
        )
        return [drawing for make in makers if (drawing := make(judged)) is not None]


def render(drawing: Drawing, kind: str) -> bytes:
    """The file's content; kind: svg or png. The same figure gives the same bytes."""
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context(STYLE):  # names are drawn as text here, too
        drawing.figure.savefig(content, format=kind, metadata={"Date": None} if kind == "svg" else {})
    return content.getvalue()


def style_of(judged: Judgement, name: str) -> tuple[str, str, str]:
    """Colour, dashes and marker of a method: the same in every figure."""
    place = [method.name for method in judged.comparison.methods].index(name)
    turn = place // len(COLOURS)
    return COLOURS[place % len(COLOURS)], DASHES[turn % len(DASHES)], MARKERS[turn % len(MARKERS)]


def intervals(judged: Judgement) -> Drawing | None:
    """Mean and interval of every method, and its blocks as small dots."""
    scored = judged.scored
    if not scored:
        return None
    figure, axis = _horizontal(len(scored))
    for row, place in enumerate(scored):
        colour, _, marker = style_of(judged, place.method.name)
        values = list(place.method.blocks(judged.comparison.by_study).values())
        axis.scatter(values, np.full(len(values), row + 0.22), s=9, color=colour, alpha=0.55, linewidths=0)
        assert place.mean is not None
        _interval(axis, row, place.mean, colour, marker)
    label_rows(axis, [place.method.name for place in scored])
    axis.set_xlabel(judged.comparison.metric.name)
    return Drawing("intervals", figure, "Mean of every method with its 95 % interval; small dots: single blocks.")


def pairs(judged: Judgement) -> Drawing | None:
    """Every difference with its interval; those that are sure in colour."""
    shown = sorted(judged.differences, key=lambda pair: (not pair.sure, -abs(pair.estimate.value)))[:SHOWN_PAIRS]
    if not shown:
        return None
    figure, axis = _horizontal(len(shown))
    for row, pair in enumerate(shown):
        _interval(axis, row, pair.estimate, SURE if pair.sure else OPEN, "o")
    axis.axvline(0, color="black", linewidth=0.8)
    label_rows(axis, [f"{pair.a} − {pair.b}" for pair in shown])
    axis.set_xlabel(f"difference in {judged.comparison.metric.name}")
    words = "Differences of pairs with 95 % intervals; blue: sure (Holm over all pairs, 5 %), grey: not."
    if len(shown) < len(judged.differences):
        words += f" The {SHOWN_PAIRS} largest of {len(judged.differences)}."
    return Drawing("differences", figure, words)


def critical_difference(judged: Judgement) -> Drawing | None:
    """Demsar's diagram: average ranks on a line, methods that do not differ joined by a bar."""
    found = judged.ranks
    if not isinstance(found, RankTest):
        return None
    k, half = len(found.methods), (len(found.methods) + 1) // 2
    figure = Figure(figsize=(7, 1.4 + 0.3 * half + 0.15 * len(found.groups)), layout="constrained")
    axis = figure.subplots()
    axis.set_axis_off()
    axis.set_xlim(1 - 0.45 * (k - 1), k + 0.45 * (k - 1))
    axis.hlines(0, 1, k, color="black", linewidth=1)
    for rank in range(1, k + 1):
        axis.vlines(rank, 0, 0.15, color="black", linewidth=1)
        axis.text(rank, 0.22, str(rank), ha="center", va="bottom")
    bars = 0.25 * len(found.groups)
    for place, (name, rank) in enumerate(zip(found.methods, found.ranks, strict=True)):
        left = place < half
        depth = -0.5 - bars - 0.45 * (place if left else k - 1 - place)
        end = 1 - 0.06 * (k - 1) if left else k + 0.06 * (k - 1)
        axis.plot([rank, rank, end], [0, depth, depth], color=style_of(judged, name)[0], linewidth=1.1)
        text = f"{name} ({rank:.2f})" if left else f"({rank:.2f}) {name}"
        axis.text(end, depth, f"{text} " if left else f" {text}", ha="right" if left else "left", va="center")
    for place, (first, last) in enumerate(found.groups):
        height = -0.25 - 0.25 * place
        axis.hlines(height, found.ranks[first] - 0.03, found.ranks[last] + 0.03, color="black", linewidth=3)
    axis.hlines(0.95, 1, 1 + found.critical, color="black", linewidth=1.5)
    axis.text(1, 1.05, f"critical difference {found.critical:.2f}", ha="left", va="bottom", fontsize=9)
    axis.set_ylim(-0.75 - bars - 0.45 * (half - 1), 1.6)
    words = f"Average ranks over {found.n} blocks, 1 = best; Friedman p = {found.friedman:.3g}. "
    words += "Bars join methods whose ranks differ by less than Nemenyi's critical difference (5 %)"
    return Drawing("critical_difference", figure, words + (", or all where Friedman's p is above 5 %."))


def profiles(judged: Judgement) -> Drawing | None:
    """Share of blocks in which a method is better than a threshold, from three blocks on."""
    scored = [place for place in judged.scored if place.mean is not None and place.mean.n >= 3]
    if not scored:
        return None
    tables = {p.method.name: list(p.method.blocks(judged.comparison.by_study).values()) for p in scored}
    low, high = min(map(min, tables.values())), max(map(max, tables.values()))
    margin = 0.05 * (high - low) or 0.01
    thresholds = np.linspace(low - margin, high + margin, 400)
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for name, values in tables.items():
        colour, dashes, _ = style_of(judged, name)
        shares = performance_profile(values, thresholds, judged.comparison.metric.maximise)
        axis.step(thresholds, shares, where="post", color=colour, linestyle=dashes, label=name)
    axis.set_ylim(-0.02, 1.05)
    better = "above" if judged.comparison.metric.maximise else "below"
    axis.set_xlabel(f"{judged.comparison.metric.name}: threshold")
    axis.set_ylabel(f"share of blocks {better} it")
    _legend(figure, axis)
    return Drawing("profiles", figure, "Performance profiles: the higher a curve, the better its method.")


def curves(judged: Judgement) -> list[BudgetCurve]:
    """Expected best score against the budget, of every method whose trials are stored."""
    metric = judged.comparison.metric
    test = not metric.name.startswith("selection score")
    scored = [place.method for place in judged.scored]
    found = [budget_curve(method, metric.accuracy, test) for method in scored]
    return [curve for curve in found if curve is not None and any(curve.trials)]


def best_against_budget(judged: Judgement) -> Drawing | None:
    """Expected best score against trials, and against device-seconds."""
    found = [curve for curve in curves(judged) if len(curve.trials) > 1]
    if not found:
        return None
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for curve in found:
        colour, dashes, marker = style_of(judged, curve.name)
        counts = [float(k) for k in range(1, len(curve.trials) + 1)]
        _band(left, counts, curve.trials, colour, dashes, marker if len(counts) < 40 else "", curve.name)
        _band(right, curve.grid, curve.seconds, colour, dashes, "", curve.name)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_xlabel("trials per study")
    right.set_xlabel("device-seconds per study")
    left.set_ylabel(f"expected {judged.comparison.metric.name}\nof the trial that the rule picks")
    _legend(figure, left)
    words = (
        "Expected score of the picked trial if a study had fewer trials (left) or device-seconds (right), drawn from "
    )
    words += "the stored trials; bands: 95 % intervals over studies, from three studies on."
    return Drawing("best_against_budget", figure, words)


def score_against_cost(judged: Judgement) -> Drawing | None:
    """Mean score against device-seconds of a study's search, and of its winner's training."""
    costs = (("device-seconds of a study's search", _search_cost), ("device-seconds of its winner", _winner_cost))
    panels = [(words, cost) for words, cost in costs if any(cost(place.method) is not None for place in judged.scored)]
    if not panels:
        return None
    figure = Figure(figsize=(4.5 * len(panels), 3.9), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (words, cost) in zip(axes, panels, strict=True):
        for place in judged.scored:
            seconds = cost(place.method)
            if seconds is None or place.mean is None:
                continue
            colour, _, marker = style_of(judged, place.method.name)
            _vertical_interval(axis, seconds, place.mean, colour, marker, place.method.name)
        axis.set_xlim(left=0)
        axis.set_xlabel(words)
    axes[0].set_ylabel(judged.comparison.metric.name)
    _legend(figure, axes[0])
    return Drawing("score_against_cost", figure, "Mean score with its 95 % interval against what it cost.")


def what_mattered(judged: Judgement) -> Drawing | None:
    """Importance of hyper-parameters, a panel for each method with enough trials."""
    found = {place.method.name: importances(place.method) for place in judged.scored}
    panels: dict[str, list[Importance]] = {name: list(v) for name, v in found.items() if not isinstance(v, str)}
    if not panels:
        return None
    lengths = [len(values) for values in panels.values()]
    figure = Figure(figsize=(7, sum(0.28 * n + 0.6 for n in lengths) + 0.4), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=[n + 1.5 for n in lengths])[:, 0]
    for axis, (name, values) in zip(axes, panels.items(), strict=True):
        labels = [one.parameter + (f" (if {one.branch}; {one.trials} trials)" if one.branch else "") for one in values]
        colours = [OPEN if one.branch else style_of(judged, name)[0] for one in values]
        axis.barh(range(len(values)), [one.share for one in values], color=colours, height=0.65)
        label_rows(axis, labels)
        axis.set_title(f"{name}, {values[0].trials} completed trials", fontsize=10, loc="left")
    axes[-1].set_xlim(0, 1)
    axes[-1].set_xlabel("share of importance for the selection score (PED-ANOVA)")
    words = "Which hyper-parameters mattered; grey: conditional ones, their share within the trials of their branch."
    return Drawing("importance", figure, words)


def _search_cost(method: ComparedMethod) -> float | None:
    return sum(method.searched.values()) / len(method.searched) if method.searched else None


def _winner_cost(method: ComparedMethod) -> float | None:
    return sum(method.trained) / len(method.trained) if method.trained else None


def _horizontal(rows: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 1.0 + 0.36 * rows), layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Figure, axis: Axes) -> None:
    """Above the panels, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=9)


def label_rows(axis: Axes, names: Sequence[str]) -> None:
    """Name the rows of a horizontal panel, the first on top."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")


def _interval(axis: Axes, row: int, estimate: Estimate, colour: str, marker: str) -> None:
    if estimate.low is not None and estimate.high is not None:
        axis.hlines(row, estimate.low, estimate.high, color=colour, linewidth=2)
    axis.plot([estimate.value], [row], marker=marker, color=colour, markersize=7)


def _vertical_interval(axis: Axes, x: float, estimate: Estimate, colour: str, marker: str, name: str) -> None:
    if estimate.low is not None and estimate.high is not None:
        axis.vlines(x, estimate.low, estimate.high, color=colour, linewidth=1.5)
    axis.plot([x], [estimate.value], marker=marker, color=colour, linestyle="", label=name)


def _band(
    axis: Axes, x: Sequence[float], y: Sequence[Estimate | None], colour: str, dashes: str, marker: str, name: str
) -> None:
    known = [(place, estimate) for place, estimate in zip(x, y, strict=True) if estimate is not None]
    places = [place for place, _ in known]
    axis.plot(places, [e.value for _, e in known], color=colour, ls=dashes, marker=marker, ms=4, label=name)
    ends = [(p, e.low, e.high) for p, e in known if e.low is not None and e.high is not None]
    if ends:
        x, low, high = (list(column) for column in zip(*ends, strict=True))
        axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
