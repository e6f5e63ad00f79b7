"""Parallel coordinates: every completed trial as a line through its searched values to its score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from platform.core.row import Row, SweepInfo, has_score, winner
from platform.report.figures import BLUE, RED, STYLE, places_of, trials_id

__all__ = ["draw_parallel_coordinates"]

FAINT = "#9fb4c2"
UNSET = -0.14
"""The height of a value that a trial does not have: a hyper-parameter that did not act."""
PLATE: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
"""Behind a mark's text, so that lines do not cross it."""


class _Scale(NamedTuple):
    """A vertical line: its name, the heights of values in [0, 1], and (height, text) of its marks."""

    name: str
    heights: list[float]
    marks: list[tuple[float, str]]


def draw_parallel_coordinates(info: SweepInfo, method: str, rows: Sequence[Row]) -> Figure | None:
    """The best quarter of the trials in blue, the best one bold and red.

    None below two completed trials with searched values.
    """
    import matplotlib as mpl

    done = [row for row in rows if row.method == method and has_score(row) and row.params and not row.repeat]
    if len(done) < 2:
        return None
    sign = 1 if info.maximise else -1
    done.sort(key=lambda row: sign * (row.score or 0.0))
    names = list(dict.fromkeys(name for row in done for name in row.params))
    scales = [_scale(name, [row.params.get(name) for row in done]) for name in names]
    scales.append(_scale("score", [row.score for row in done], logarithmic=False))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(6.4, 1.5 * len(scales) + 0.6), 4.0), layout="constrained")
        axis = figure.subplots()
        _lines(axis, done, scales, winner(done, info.maximise))
        for place, scale in enumerate(scales):
            _vertical(axis, place, scale)
        axis.set_axis_off()
        axis.set_xlim(-0.3, len(scales) - 0.35)
        axis.set_ylim(UNSET - 0.06, 1.16)
        handles = [
            Line2D([], [], color=RED, linewidth=2.6, label="best trial"),
            Line2D([], [], color=BLUE, linewidth=1.3, label="best quarter"),
            Line2D([], [], color=FAINT, linewidth=0.8, label="other completed trials"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def _lines(axis: Axes, done: Sequence[Row], scales: Sequence[_Scale], best: Row | None) -> None:
    """`done`: from the worst to the best, so that the best are on top."""
    quarter = len(done) - max(1, len(done) // 4)
    for place, row in enumerate(done):
        heights = [scale.heights[place] for scale in scales]
        style: dict[str, Any] = {"color": FAINT, "linewidth": 0.8, "alpha": 0.8, "zorder": 2}
        if place >= quarter:
            style = {"color": BLUE, "linewidth": 1.3, "alpha": 0.85, "zorder": 3}
        if row is best:
            style = {"color": RED, "linewidth": 2.6, "zorder": 4}
        axis.plot(range(len(scales)), heights, gid=trials_id([row.key]), **style)


def _vertical(axis: Axes, place: int, scale: _Scale) -> None:
    axis.plot([place, place], [0, 1], color="black", linewidth=1, zorder=5)
    axis.text(place, 1.05, scale.name, ha="center", va="bottom", fontsize=9, fontweight="bold")
    for height, text in scale.marks:
        axis.plot([place - 0.02, place + 0.02], [height, height], color="black", linewidth=1, zorder=5)
        axis.text(place + 0.04, height, text, ha="left", va="center", fontsize=8, zorder=6, bbox=PLATE)


def _scale(name: str, values: Sequence[Any], logarithmic: bool | None = None) -> _Scale:
    """Numbers from the least to the largest, by their logarithm where that is 20 times the least; words as places."""
    known = [value for value in values if value is not None]
    unset = [(UNSET, "none")] if len(known) < len(values) else []
    places = places_of(known) if logarithmic is None else None
    if places is not None:
        top = max(1, len(places) - 1)
        marks = [(place / top if len(places) > 1 else 0.5, text) for text, place in places.items()]
        at = {text: height for height, text in marks}
        return _Scale(name, [UNSET if value is None else at[str(value)] for value in values], [*marks, *unset])
    low, high = min(known), max(known)
    wide = logarithmic is None and low > 0 and high / low >= 20
    turn = math.log if wide else float

    def height(value: Any) -> float:
        return (turn(value) - turn(low)) / (turn(high) - turn(low)) if high > low else 0.5

    middle = math.exp((math.log(low) + math.log(high)) / 2) if wide else (low + high) / 2
    shown = dict.fromkeys((low, middle, high))
    digits = next((n for n in (3, 4, 5, 6) if len({f"{value:.{n}g}" for value in shown}) == len(shown)), 7)
    marks = [(height(value), f"{value:.{digits}g}") for value in shown]
    return _Scale(name, [UNSET if value is None else height(value) for value in values], [*marks, *unset])
