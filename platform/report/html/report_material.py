"""The material of a report: a judgement, its figures, and every stored trial by its place in the table of trials."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from matplotlib.figure import Figure

from platform.core.row import Row, SweepInfo, winner
from platform.report.html.inline_svg import PAGE_COLOURS, StyleSheet, inline_svg
from platform.report.html.report_blocks import InlineDrawing
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.comparison import Origin
from platform.report.judge.comparison_figures import Drawing, style_of
from platform.report.judge.judgement import Judgement

__all__ = ["ReportMaterial"]


@dataclass
class ReportMaterial:
    """drawn: figures of the comparison, by name."""

    judged: Judgement
    drawn: dict[str, Drawing]
    styles: StyleSheet = field(default_factory=StyleSheet)
    _names: set[str] = field(default_factory=set)

    @cached_property
    def rows(self) -> list[tuple[Origin, Row]]:
        """Every stored trial with the sweep that it comes from, in the order of the leaderboard."""
        order = {name: place for place, name in enumerate(dict.fromkeys(p.method.method for p in self.judged.places))}
        found = [(origin, row) for origin in self.judged.comparison.origins for row in origin.rows]
        return sorted(found, key=lambda pair: (order.get(pair[1].method, len(order)), *_position(pair[1])))

    @cached_property
    def trials(self) -> dict[str, int]:
        """The place of each trial, by its key."""
        return {row.key: place for place, (_, row) in reversed(list(enumerate(self.rows)))}

    @cached_property
    def winners(self) -> set[tuple[str, str, str]]:
        """(sweep, study, key) of every winner."""
        return {
            (origin.label, won.study, won.key) for origin, info in self.sweeps for won in study_winners(origin, info)
        }

    @property
    def sweeps(self) -> list[tuple[Origin, SweepInfo]]:
        """The folders, without files of other tools' scores."""
        return [(origin, origin.info) for origin in self.judged.comparison.origins if origin.info is not None]

    @property
    def methods(self) -> list[tuple[ComparedMethod, SweepInfo]]:
        """Methods whose trials are stored, best first."""
        found = [place.method for place in self.judged.places]
        return [(method, method.info) for method in found if method.info is not None and method.rows]

    def colour(self, name: str) -> str:
        """A method's colour, as the page calls it."""
        colour = style_of(self.judged, name)[0]
        return PAGE_COLOURS.get(colour.lower(), colour)

    def drawing(self, figure: Figure | None, name: str, words: str) -> list[InlineDrawing]:
        """The figure as a part of the page, or nothing. words: what it shows."""
        if figure is None:
            return []
        name = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "drawing"
        while name in self._names:
            name += "-again"
        self._names.add(name)
        return [InlineDrawing(name, inline_svg(figure, f"f{len(self._names)}", words, self.styles, self.trials), words)]

    def of_comparison(self, name: str) -> list[InlineDrawing]:
        """A figure that the comparison has, where it has it."""
        drawn = self.drawn.get(name)
        return self.drawing(drawn.figure, name, drawn.words) if drawn is not None else []


def _position(row: Row) -> tuple[str, int, int]:
    return row.study, row.repeat, row.number


def study_winners(origin: Origin, info: SweepInfo) -> Sequence[Row]:
    """The winner of each study that has one."""
    best = [winner([row for row in origin.rows if row.study == study], info.maximise) for study in info.studies]
    return [row for row in best if row is not None]
