"""The trial that each selection rule would have picked in every study, and what it is worth on the test images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from platform.core.plugins import BrokenPlugin, UnknownPlugin
from platform.core.registry import RULES
from platform.core.row import Row, has_score
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.comparison_figures import COLOURS, MARKERS, STYLE, label_rows
from platform.report.judge.judgement import Judgement
from platform.report.judge.score_tables import Cell, TextTable

__all__ = ["BEST", "RulePicks", "draw_rule_picks", "rule_picks", "rule_picks_table"]

BEST = "best trial (test)"
"""Not a rule: the trial with the highest test accuracy, which nobody can pick without the test labels."""


@dataclass(frozen=True)
class RulePicks:
    """One method. accuracy: by rule, the mean test accuracy of its picks over the studies; None where it has none.

    test_name: what test accuracy is called.
    """

    method: str
    studies: int
    used: str
    accuracy: dict[str, float | None]
    test_name: str = "test accuracy"


def rule_picks(judged: Judgement) -> list[RulePicks]:
    """Methods of the leaderboard with two completed trials or more in a study; none where test accuracy is unknown."""
    methods = [place.method for place in judged.scored if place.method.info is not None]
    found = [_of_method(method, judged.test_name) for method in methods]
    return [picks for picks in found if picks is not None]


def rule_picks_table(picks: Sequence[RulePicks]) -> TextTable:
    """A line per method, a column per rule; bold: the rule that the sweep used."""
    rules = list(dict.fromkeys(rule for one in picks for rule in one.accuracy))
    oracles = [rule for rule in rules if rule != BEST and (module := _rule(rule)) is not None and module.NEEDS_TRUTH]
    head = ["method", "studies", *(f"{rule} (oracle)" if rule in oracles else rule for rule in rules)]
    rows = [
        [Cell(one.method), Cell(str(one.studies)), *(_cell(one.accuracy.get(rule), rule == one.used) for rule in rules)]
        for one in picks
    ]
    caption = (
        f"Mean {picks[0].test_name} of the trial that each rule would have picked among the completed ones of a study. "
        "Bold: the rule that was used. An oracle reads true labels. The last column is no rule but the highest that "
        "any pick could reach."
    )
    return TextTable("Selection rules", head, [False, *[True] * (len(head) - 1)], rows, caption)


def draw_rule_picks(picks: Sequence[RulePicks]) -> Figure | None:
    """A row per method, a mark per rule."""
    import matplotlib as mpl

    if not picks:
        return None
    rules = list(dict.fromkeys(rule for one in picks for rule in one.accuracy))
    looks = {rule: (COLOURS[i % len(COLOURS)], (*MARKERS, "v", "P")[i % 6]) for i, rule in enumerate(rules)}
    looks[BEST] = ("black", "|")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.5 + 0.36 * len(picks)), layout="constrained")
        axis = figure.subplots()
        for place, one in enumerate(picks):
            for offset, (rule, value) in enumerate(one.accuracy.items()):
                if value is not None:
                    y = place + 0.09 * (offset - (len(one.accuracy) - 1) / 2)
                    style: dict[str, Any] = {"markersize": 14, "markeredgewidth": 2} if rule == BEST else {"ms": 7}
                    axis.plot([value], [place if rule == BEST else y], looks[rule][1], color=looks[rule][0], **style)
        label_rows(axis, [one.method for one in picks])
        axis.set_xlabel(f"mean {picks[0].test_name} of the picked trials")
        handles = [Line2D([], [], ls="", marker=mark, color=colour, label=r) for r, (colour, mark) in looks.items()]
        figure.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=9)
    return figure


def _of_method(method: ComparedMethod, test_name: str) -> RulePicks | None:
    assert method.info is not None
    done = [row for row in method.rows if has_score(row) and row.test_accuracy is not None]
    studies = [[row for row in done if row.study == study] for study in dict.fromkeys(row.study for row in done)]
    if not studies or max(map(len, studies)) < 2:
        return None
    used = method.info.select
    names = dict.fromkeys([used, *(name for name in RULES.names() if name != used)])
    accuracy = {name: _mean([_pick(study, name, used) for study in studies]) for name in names}
    known: dict[str, float | None] = {name: value for name, value in accuracy.items() if value is not None}
    if len(known) < 2:
        return None
    known[BEST] = _mean([max(row.test_accuracy or 0.0 for row in study) for study in studies])
    return RulePicks(method.name, len(studies), used, known, test_name)


def _pick(rows: Sequence[Row], rule: str, used: str) -> float | None:
    """Test accuracy of the trial that the rule picks; None where it has no finite score for any."""
    module = _rule(rule)
    if module is None:
        return None
    scores = [row.score if rule == used else _score(module, row) for row in rows]
    known = [(score, row) for score, row in zip(scores, rows, strict=True) if score is not None]
    sign = 1 if module.MAXIMISE else -1
    if not known:
        return None
    return max(known, key=lambda pair: (sign * pair[0], -pair[1].number))[1].test_accuracy


def _score(module: Any, row: Row) -> float | None:
    reports = [{name: value for name, value in r.items() if not name.startswith("test_")} for r in row.reports]
    try:
        found = float(module.score(reports))
    except (KeyError, IndexError, ValueError):  # a metric that this sweep did not report
        return None
    return found if math.isfinite(found) else None


def _rule(name: str) -> Any:
    try:
        return RULES.get(name)
    except (UnknownPlugin, BrokenPlugin):
        return None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _cell(value: float | None, used: bool) -> Cell:
    return Cell("" if value is None else f"{value:.4f}", used)
