"""The Pareto front of score and seconds, where a sweep has both as objectives.

results/NAME/pareto.csv      results/NAME/figures/pareto.png
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from platform.core.row import Row, SweepInfo, has_score
from platform.report.trial_tables import replace_text, to_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("study", "key", "number", "seconds", "score", "test_accuracy")


def asked_for(info: SweepInfo) -> bool:
    return "seconds" in (info.resolved.get("budget") or {}).get("objectives", [])


def front(rows: Sequence[Row], maximise: bool) -> list[Row]:
    """The completed trials than which none has a better score in as few seconds, or as good a score in fewer; by
    seconds. Test accuracy does not count."""
    sign = 1 if maximise else -1
    done = [row for row in rows if has_score(row) and not row.repeat]
    best, unbeaten = -math.inf, []
    for row in sorted(done, key=lambda row: (row.seconds, -sign * (row.score or 0.0), row.number)):
        if sign * (row.score or 0.0) > best:
            best = sign * (row.score or 0.0)
            unbeaten.append(row)
    return unbeaten


def fronts(info: SweepInfo, rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The trials of each study's front, by study."""
    return {study: front([row for row in rows if row.study == study], info.maximise) for study in info.studies}


def write(info: SweepInfo, rows: Sequence[Row], path: Path) -> None:
    """One line per trial of a front; its hyper-parameters are in trials.csv under the same key."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for study, members in fronts(info, rows).items():
        for row in members:
            cells = [to_cell(study), row.key, row.number, round(row.seconds, 3), row.score, row.test_accuracy]
            writer.writerow(cells)
    replace_text(path, text.getvalue())


def said(info: SweepInfo, rows: Sequence[Row]) -> list[str]:
    """A line per study for people."""
    lines = []
    for study, members in fronts(info, rows).items():
        if members:
            ends = dict.fromkeys(f"{row.score:.4f} in {row.seconds:.1f} s" for row in (members[0], members[-1]))
            many = f"{len(members)} trial{'s' * (len(members) != 1)}"
            lines.append(f"Pareto front of {study}: {many}, score {' to '.join(ends)} (pareto.csv)")
    return lines


def figure(info: SweepInfo, rows: Sequence[Row], colours: Sequence[str]) -> Figure:
    """Every completed trial, and the front of each study as a stair."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6.4, 4.6), layout="constrained")
    axis = drawn.subplots()
    for position, (study, members) in enumerate(fronts(info, rows).items()):
        colour = colours[position % len(colours)]
        done = [row for row in rows if row.study == study and has_score(row) and not row.repeat]
        axis.scatter([r.seconds for r in done], [r.score or 0.0 for r in done], s=18, color=colour, alpha=0.35)
        places = ([r.seconds for r in members], [r.score or 0.0 for r in members])
        axis.step(*places, where="post", marker="o", color=colour, label=f"{study}: {len(members)} of {len(done)}")
    axis.set_xlabel("seconds of a trial (training and evaluation)")
    axis.set_ylabel(f"score: {info.select.replace('_', ' ')}")
    axis.legend(title="Pareto front", fontsize=9)
    drawn.suptitle(f"{info.name}: score against seconds, completed trials", fontsize=12)
    return drawn
