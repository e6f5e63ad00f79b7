"""Figures of winners over training, a line per method: score, calibration, right labels told from wrong ones.

A line is the mean over the winners of a method's studies, its band reaches from the lowest to the highest of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from platform.core.row import Row
from platform.report.figures import label_of, percent
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.comparison_figures import STYLE, label_rows, style_of
from platform.report.judge.judgement import Judgement
from platform.report.layer_figures import winners_of

__all__ = ["draw_calibration", "draw_label_split", "draw_winner_curves"]


@dataclass(frozen=True)
class _Panel:
    """What one panel shows: the key of a report, its title, whether it is a share of one."""

    key: str
    title: str
    share: bool = True


_SPLITS = (
    _Panel("diag/pseudo_label_accuracy", "right ones among all pseudo-labels"),
    _Panel("diag/pseudo_label_accuracy_selected", "right ones among those used"),
    _Panel("diag/mask_rate", "pseudo-labels used"),
    _Panel("diag/weight_auroc", "right label trusted more than wrong one\n(AUROC; 0.5 = chance)", False),
    _Panel("diag/label_precision", "right ones among given labels kept"),
    _Panel("diag/label_recall", "kept ones among right given labels"),
)


def draw_winner_curves(judged: Judgement) -> Figure | None:
    """Score by the selection rule and test accuracy over training steps; the score only where all have one rule."""
    infos = [method.info for method in judged.comparison.methods if method.info is not None]
    if not infos:
        return None
    panels = [_Panel("test_accuracy", f"{judged.test_name}, never selected on")]
    if len({info.select for info in infos}) == 1:
        title = f"score: {label_of(infos[0].select, infos[0])}"
        panels.insert(0, _Panel("score", title, infos[0].select.endswith("accuracy")))
    return _over_steps(judged, panels)


def draw_label_split(judged: Judgement) -> Figure | None:
    """How pseudo-labels and trust in given labels split right from wrong, where methods have them and truth is known.

    None where no winner reported any of it.
    """
    return _over_steps(judged, _SPLITS)


def draw_calibration(judged: Judgement) -> Figure | None:
    """Calibration error over steps; at the end, mean confidence where the winners are right and where wrong."""
    import matplotlib as mpl

    shown = [(method, _winners(method)) for method in _drawn(judged)]
    shown = [(method, rows) for method, rows in shown if _curve(rows, "diag/ece")]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, max(3.6, 1.6 + 0.34 * len(shown))), layout="constrained")
        left, right = figure.subplots(1, 2)
        for method, rows in shown:
            _line(left, judged, method.name, _curve(rows, "diag/ece"))
        left.set_title("calibration error (ECE, 15 bins)")
        _steps(left)
        left.set_ylim(bottom=0)
        for place, (method, rows) in enumerate(shown):
            colour, _, _ = style_of(judged, method.name)
            ends = [_last(rows, f"diag/confidence_{side}") for side in ("wrong", "right")]
            known = [end for end in ends if end is not None]
            right.plot(known, [place] * len(known), color=colour, linewidth=2)
            for end, marker, fill in zip(ends, "XO", ("none", "full"), strict=True):
                if end is not None:
                    right.plot([end], [place], marker=marker.lower(), color=colour, markersize=7, fillstyle=fill)
        label_rows(right, [method.name for method, _ in shown])
        right.set_xlim(0, 1.02)
        right.xaxis.set_major_formatter(FuncFormatter(percent))
        right.set_title("confidence at the end: x wrong, dot right")
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=6, fontsize=9)
    return figure


def _over_steps(judged: Judgement, panels: Sequence[_Panel]) -> Figure | None:
    """A panel for each key that any winner reported; None where there is none."""
    import matplotlib as mpl

    methods = [(method, _winners(method)) for method in _drawn(judged)]
    curves = {p: {m.name: c for m, rows in methods if (c := _curve(rows, p.key))} for p in panels}
    shown = [panel for panel in panels if curves[panel]]
    if not shown:
        return None
    columns = 2 if len(shown) == 4 else min(3, len(shown))
    lines = math.ceil(len(shown) / columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6 * columns if columns < 3 else 11.4, 3.5 * lines + 0.4), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False)
        for axis, panel in zip(grid.flat, shown, strict=False):
            for name, curve in curves[panel].items():
                _line(axis, judged, name, curve)
            axis.set_title(panel.title)
            _steps(axis)
            if panel.share:
                axis.yaxis.set_major_formatter(FuncFormatter(percent))
        for axis in grid.flat[len(shown) :]:
            axis.set_visible(False)
        names = {label: h for axis in grid.flat for h, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        figure.legend(list(names.values()), list(names), loc="outside upper left", ncols=6, fontsize=9)
    return figure


def _drawn(judged: Judgement) -> list[ComparedMethod]:
    """Methods whose trials are stored, those with a score first, best first."""
    return [place.method for place in judged.places if place.method.info is not None and place.method.rows]


def _winners(method: ComparedMethod) -> list[Row]:
    assert method.info is not None
    return winners_of(method.info, method.rows, method.method)


def _curve(rows: Sequence[Row], key: str) -> list[tuple[float, float, float, float]]:
    """(step, mean, lowest, highest) at the steps where every winner that knows the metric has a finite value."""
    tables = [{r["step"]: r[key] for r in row.reports if math.isfinite(r.get(key, math.nan))} for row in rows]
    tables = [table for table in tables if table]
    steps = sorted(set.intersection(*map(set, tables))) if tables else []
    values = [(step, [table[step] for table in tables]) for step in steps]
    return [(step, sum(found) / len(found), min(found), max(found)) for step, found in values]


def _last(rows: Sequence[Row], key: str) -> float | None:
    curve = _curve(rows, key)
    return curve[-1][1] if curve else None


def _line(axis: Axes, judged: Judgement, name: str, curve: Sequence[tuple[float, float, float, float]]) -> None:
    colour, dashes, marker = style_of(judged, name)
    steps, means, low, high = (list(column) for column in zip(*curve, strict=True))
    axis.plot(steps, means, color=colour, ls=dashes, marker=marker, ms=3.5, linewidth=1.8, label=name)
    if any(a < b for a, b in zip(low, high, strict=True)):
        axis.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)


def _steps(axis: Axes) -> None:
    axis.set_xlabel("training step")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
