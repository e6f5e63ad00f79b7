"""The last sections of the report: every trial as a row, and the files and commands that lead there."""

from __future__ import annotations

from platform.core.redaction import redact_command
from platform.core.row import Row, SweepInfo, has_score
from platform.report.html.report_blocks import CodeBlock, Fold, Listing, Part, ReportSection, SortedTable
from platform.report.html.report_material import ReportMaterial, study_winners
from platform.report.judge.comparison import Origin
from platform.report.judge.comparison_facts import conditions, facts
from platform.report.judge.score_tables import Cell, TextTable
from platform.report.leaderboard import retrain
from platform.report.sweep_text import sweep_yaml
from platform.report.trial_text import first_line, settings, trial_name

__all__ = ["commands_section", "trials_section"]

MOST_ROWS = 2000
"""Trials that the table holds; of more, the winners and the first ones."""


def trials_section(material: ReportMaterial) -> ReportSection:
    """A row for every trial; what the figures show of a trial when the mouse is over it comes from here."""
    if not material.rows:
        return ReportSection("trials", "Trials")
    several = len(material.sweeps) > 1
    head = [*(["from"] if several else []), "study", "trial", "outcome", "score", material.judged.test_name]
    head += ["steps", "seconds"]
    head.append("hyper-parameters")
    right = [*([False] if several else []), False, False, False, True, True, True, True, False]
    shown = _shown(material)
    rows = [_cells(material, origin, row, several) for _, origin, row in shown]
    caption = "Bold: the winner of its study."
    if len(shown) < len(material.rows):
        caption += f" {len(shown)} of {len(material.rows)} trials; all are in trials.csv."
    table = SortedTable(
        TextTable("Trials", head, right, rows, caption), trials=[place for place, *_ in shown], name="trials"
    )
    return ReportSection("trials", "Trials", [Fold(f"All {len(shown)} trials", [table], printed=False)])


def _shown(material: ReportMaterial) -> list[tuple[int, Origin, Row]]:
    every = [(place, origin, row) for place, (origin, row) in enumerate(material.rows)]
    if len(every) <= MOST_ROWS:
        return every
    won = [one for one in every if _won(material, one[1], one[2])]
    places = {place for place, *_ in won} | {place for place, *_ in every[: MOST_ROWS - len(won)]}
    return [one for one in every if one[0] in places]


def _won(material: ReportMaterial, origin: Origin, row: Row) -> bool:
    return not row.repeat and (origin.label, row.study, row.key) in material.winners


def _cells(material: ReportMaterial, origin: Origin, row: Row, several: bool) -> list[Cell]:
    outcome = row.outcome or "running"
    if row.error:
        outcome += f": {first_line(row.error)[:120]}"
    texts = [*([origin.label] if several else []), row.study, trial_name(row), outcome]
    texts += ["" if value is None else f"{value:.4f}" for value in (row.score, row.test_accuracy)]
    texts += [str(row.steps), f"{row.spent:,.1f}", settings(row)]
    won = _won(material, origin, row)
    return [Cell(text, won) for text in texts]


def commands_section(material: ReportMaterial) -> ReportSection:
    """Where the numbers come from, and what to type to get them again."""
    said = conditions(material.judged.comparison)  # beside the leaderboard
    parts: list[Part] = [Listing([line for line in facts(material.judged.comparison) if line not in said])]
    for origin, info in material.sweeps:
        parts += _commands(origin, info)
    return ReportSection("commands", "Sweep files and commands", parts)


def _commands(origin: Origin, info: SweepInfo) -> list[Part]:
    parts: list[Part] = []
    if info.command:
        parts.append(CodeBlock(f"Run {info.name} again; only what is missing runs:", redact_command(info.command)))
        again: list[Part] = [
            CodeBlock(f"{row.method}, winner of {row.study}, trial {trial_name(row)}:", retrain(info, row))
            for row in _best_winners(origin, info)
        ]
        if again:
            parts.append(Fold("Train each method's best winner again", again))
    parts.append(
        Fold(
            f"The sweep file of {info.name}, every default filled in", [CodeBlock("", sweep_yaml(info))], printed=False
        )
    )
    return parts


def _best_winners(origin: Origin, info: SweepInfo) -> list[Row]:
    """Of each method the best of its studies' winners."""
    sign = 1 if info.maximise else -1
    won = [row for row in study_winners(origin, info) if has_score(row)]
    found = [
        max((r for r in won if r.method == m), key=lambda r: sign * (r.score or 0.0), default=None)
        for m in info.methods
    ]
    return [row for row in found if row is not None]
