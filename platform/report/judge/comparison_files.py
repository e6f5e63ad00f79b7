"""A comparison as files: leaderboard and pairs as Markdown, CSV and LaTeX, figures as SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from platform.core.files import atomic
from platform.report.judge.budget_curves import assumption
from platform.report.judge.comparison_facts import conditions, facts
from platform.report.judge.comparison_figures import Drawing, drawings, render
from platform.report.judge.escaping import markdown
from platform.report.judge.hyper_importance import importances
from platform.report.judge.judgement import Judgement
from platform.report.judge.score_tables import (
    TextTable,
    leaderboard_csv,
    leaderboard_table,
    pairs_csv,
    pairs_table,
    paper_leaderboard,
    paper_pairs,
    to_latex,
    to_markdown,
)
from platform.report.judge.verdict import verdict


def write_comparison(judged: Judgement, folder: Path, drawn: Sequence[Drawing] | None = None) -> list[Path]:
    """Everything into `folder`; the files that were made, leaderboard.md first. Each is replaced as a whole.

    drawn: `drawings(judged)`, where somebody has them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said, told = facts(judged.comparison), "; ".join(conditions(judged.comparison))
    board, pairs = paper_leaderboard(judged), pairs_table(judged)
    drawn = drawings(judged) if drawn is None else drawn
    texts = {
        "leaderboard.md": comparison_markdown(judged, drawn),
        "leaderboard.csv": leaderboard_csv(judged, told),
        "leaderboard.tex": to_latex(_captioned(board, told), said, "tab:leaderboard"),
    }
    if pairs.rows:
        texts["pairs.csv"] = pairs_csv(judged, told)
        texts["pairs.tex"] = to_latex(_captioned(paper_pairs(judged), told), said, "tab:pairs")
    made = []
    for name, text in texts.items():
        with atomic(folder / name, sync=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
        made.append(folder / name)
    for name in ("pairs.csv", "pairs.tex"):
        if name not in texts:
            (folder / name).unlink(missing_ok=True)
    return made + _draw(drawn, folder / "figures")


def comparison_markdown(judged: Judgement, drawn: Sequence[Drawing]) -> str:
    """Verdict, facts, leaderboard, pairs, figures with what they show."""
    pairs = pairs_table(judged)
    parts = ["# Comparison", _listed(verdict(judged))]
    parts += ["## Leaderboard", to_markdown(leaderboard_table(judged)), _listed(facts(judged.comparison))]
    if pairs.rows:
        parts += ["## Pairs", to_markdown(pairs), _listed(conditions(judged.comparison))]
    if isinstance(judged.ranks, str):
        parts.append(markdown(judged.ranks))
    parts += [f"![{d.name.replace('_', ' ')}](figures/{d.name}.svg)\n\n{markdown(d.words)}" for d in drawn]
    remarks = dict.fromkeys(assumption(place.method) for place in judged.scored if place.method.info is not None)
    parts += [f"Score against budget: {markdown(words)}" for words in remarks]
    too_few = [found for place in judged.scored if isinstance(found := importances(place.method), str)]
    parts += [_listed(too_few)] if too_few else []
    return "\n\n".join(parts) + "\n"


def _captioned(table: TextTable, conditions: str) -> TextTable:
    return replace(table, caption=f"{table.caption} {conditions[:1].upper()}{conditions[1:]}.")


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {markdown(line)}" for line in lines)


def _draw(drawn: Sequence[Drawing], folder: Path) -> list[Path]:
    made = []
    for old in folder.glob("*.*"):
        if old.suffix in (".svg", ".png"):
            old.unlink()  # of a comparison before: a figure that is not drawn any more must not stay
    folder.mkdir(exist_ok=True)
    for drawing in drawn:
        for kind in ("svg", "png"):
            path = folder / f"{drawing.name}.{kind}"
            with atomic(path, sync=False) as temporary:
                temporary.write_bytes(render(drawing, kind))
            made.append(path)
    return made
