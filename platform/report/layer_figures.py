"""Figures of diagnostics: gradients and CLID of each layer, trust in each label.

figures/layers.png      where `train: {diagnostics: full}` looked at the stages of the network
figures/METHOD/label_trust.png      where a method weighs its labels (clid_mu and others)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from platform.core.row import Row, SweepInfo, winner

BY_STAGE = {
    "stage_gradient_cosine": "labelled against unlabelled loss:\ncosine of their gradients",
    "stage_gradient_oracle": "pseudo-labels against true labels:\ncosine of their gradients",
    "stage_clid": "CLID of the stage and the output",
}
"""What is drawn of each stage, and its title. See platform/training/diagnostics/names.py."""


def winners_of(info: SweepInfo, rows: Sequence[Row], method: str) -> list[Row]:
    """The winner of each study of a method that has one, the studies in order."""
    trials = [row for row in rows if row.method == method]
    studies = dict.fromkeys(row.study for row in trials)
    best = [winner([row for row in trials if row.study == study], info.maximise) for study in studies]
    return [row for row in best if row is not None]


def stages_known(info: SweepInfo, rows: Sequence[Row]) -> list[str]:
    """Those of BY_STAGE that a winner has a value of at its last evaluation."""
    last = [row.reports[-1] for method in info.methods for row in winners_of(info, rows, method) if row.reports]
    return [name for name in BY_STAGE if any(_is_of(key, name) and math.isfinite(r[key]) for r in last for key in r)]


def _is_of(key: str, name: str) -> bool:
    return key.startswith(f"diag/{name}/")


def has_trust(rows: Sequence[Row]) -> bool:
    """Whether labels were weighted of which it is known that they are right or wrong."""
    return any(_finite(row, f"diag/weight_{group}_p50") for row in rows for group in ("clean", "noisy"))


def layers(info: SweepInfo, rows: Sequence[Row], colours: Sequence[str]) -> Figure:
    """Diagnostics by stage of the network, at the last evaluation: a line per method, mean over its winners, band from
    the lowest to the highest of them. A panel for each of `stages_known`, at least one."""
    names = stages_known(info, rows)
    figure = Figure(figsize=(4.2 * max(2, len(names)), 4.6), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for place, method in enumerate(info.methods):
        best = [row.reports[-1] for row in winners_of(info, rows, method) if row.reports]
        style = {"color": colours[place % len(colours)], "linestyle": ("-", "--", ":")[place // len(colours) % 3]}
        for axis, name in zip(axes, names, strict=True):
            _line(axis, name, best, method, style)
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(BY_STAGE[name])
        axis.tick_params(axis="x", rotation=60, labelsize=8.5)
        if "cosine" in BY_STAGE[name]:
            axis.axhline(0, color="#767676", linewidth=0.8)
    lines = {str(line.get_label()): line for axis in axes for line in axis.lines if line.get_label()[0] != "_"}
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=6, fontsize=9)
    figure.suptitle(f"{info.name}: layer by layer at the last evaluation of each study's winner", fontsize=12)
    return figure


def _line(axis: Axes, name: str, reports: Sequence[dict[str, float]], method: str, style: dict[str, Any]) -> None:
    prefix = f"diag/{name}/"
    stages = list(dict.fromkeys(key.removeprefix(prefix) for report in reports for key in report if prefix in key))
    curves = [[r.get(prefix + stage, math.nan) for r in reports] for stage in stages]
    finite = [[value for value in values if math.isfinite(value)] for values in curves]
    known = [(stage, values) for stage, values in zip(stages, finite, strict=True) if values]
    if not known:
        return
    names, columns = [stage for stage, _ in known], [values for _, values in known]
    axis.plot(names, [sum(v) / len(v) for v in columns], marker="o", markersize=4, label=method, **style)
    if max(map(len, columns)) > 1:
        low, high = [min(v) for v in columns], [max(v) for v in columns]
        axis.fill_between(names, low, high, color=style["color"], alpha=0.13, linewidth=0)


def label_trust(info: SweepInfo, method: str, rows: Sequence[Row], colours: Sequence[str]) -> Figure:
    """The spread of the trust in truly right and truly wrong labels over time, and how well it tells them apart.

    The spread is that of the best trial of all studies; AUROC of every study's winner. colours: two or more.
    """
    shown = winners_of(info, rows, method) or [row for row in rows if row.method == method]
    best = winner(shown, info.maximise) or shown[0]
    curves = [(row.study, points) for row in shown if (points := _finite(row, "diag/weight_auroc"))]
    figure = Figure(figsize=(9.6 if curves else 5.4, 4.0), layout="constrained")
    spread, *others = figure.subplots(1, 2 if curves else 1, squeeze=False)[0]
    for group, colour, label in (("clean", colours[0], "right labels"), ("noisy", colours[1], "wrong labels")):
        _spread(spread, best, f"diag/weight_{group}", colour, label)
    spread.set_title("trust in labels: middle, and 80 % of them")
    spread.set_ylim(bottom=0)
    spread.legend(fontsize=9)
    for auroc in others:
        for place, (study, points) in enumerate(curves):
            style = {"color": colours[place % len(colours)], "marker": "o", "markersize": 3.5, "label": study}
            auroc.plot(*zip(*points, strict=True), **style)
        auroc.set_ylim(-0.03, 1.03)
        auroc.legend(fontsize=9)
        auroc.axhline(0.5, color="#767676", linewidth=0.8, linestyle="--")
        auroc.set_title("a right label is trusted more than a wrong one\n(AUROC; 0.5 = chance), every study's winner")
    for axis in (spread, *others):
        axis.set_xlabel("training step")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.suptitle(f"{method}: which labels it trusts ({info.name}, trial {best.key})", fontsize=12)
    return figure


def _spread(axis: Axes, row: Row, name: str, colour: str, label: str) -> None:
    low, middle, high = (dict(_finite(row, f"{name}_p{mark}")) for mark in (10, 50, 90))
    steps = [step for step in middle if step in low and step in high]
    if steps:
        axis.fill_between(
            steps, [low[s] for s in steps], [high[s] for s in steps], color=colour, alpha=0.2, linewidth=0
        )
        axis.plot(steps, [middle[s] for s in steps], color=colour, marker="o", markersize=3.5, label=label)


def _finite(row: Row, name: str) -> list[tuple[float, float]]:
    return [(r["step"], r[name]) for r in row.reports if math.isfinite(r.get(name, math.nan))]
