"""A comparison as files: leaderboard and pairs as Markdown, CSV and LaTeX, figures as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

from platform.report.files import replace, replace_text
from platform.report.judge.budget_curves import assumption
from platform.report.judge.comparison_facts import facts
from platform.report.judge.comparison_figures import STYLE, Drawing, drawings
from platform.report.judge.escaping import markdown
from platform.report.judge.hyper_importance import importances
from platform.report.judge.judgement import Judgement
from platform.report.judge.score_tables import (
    leaderboard_csv,
    leaderboard_table,
    pairs_csv,
    pairs_table,
    to_latex,
    to_markdown,
)
from platform.report.judge.verdict import verdict


def write_comparison(judged: Judgement, folder: Path) -> list[Path]:
    """Everything into `folder`; the files that were made, leaderboard.md first. Each is replaced as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    said, board, pairs = facts(judged.comparison), leaderboard_table(judged), pairs_table(judged)
    drawn = drawings(judged)
    texts = {
        "leaderboard.md": comparison_markdown(judged, drawn),
        "leaderboard.csv": leaderboard_csv(judged),
        "leaderboard.tex": to_latex(board, said, "tab:leaderboard"),
    }
    if pairs.rows:
        texts |= {"pairs.csv": pairs_csv(judged), "pairs.tex": to_latex(pairs, said, "tab:pairs")}
    made = []
    for name, text in texts.items():
        replace_text(folder / name, text)
        made.append(folder / name)
    for name in ("pairs.csv", "pairs.tex"):
        if name not in texts:
            (folder / name).unlink(missing_ok=True)
    return made + _draw(drawn, folder / "figures")


def comparison_markdown(judged: Judgement, drawn: list[Drawing]) -> str:
    """Verdict, facts, leaderboard, pairs, figures with what they show."""
    pairs = pairs_table(judged)
    parts = ["# Comparison", "\n".join(f"- {markdown(line)}" for line in verdict(judged))]
    parts += ["## Leaderboard", to_markdown(leaderboard_table(judged)), "\n".join(_facts(judged))]
    if pairs.rows:
        parts += ["## Pairs", to_markdown(pairs), "\n".join(_facts(judged, short=True))]
    if isinstance(judged.ranks, str):
        parts.append(markdown(judged.ranks))
    parts += [f"![{markdown(d.words)}](figures/{d.name}.svg)\n\n{markdown(d.words)}" for d in drawn]
    remarks = dict.fromkeys(assumption(place.method) for place in judged.scored if place.method.info is not None)
    parts += [f"Score against budget: {markdown(words)}" for words in remarks]
    too_few = [found for place in judged.scored if isinstance(found := importances(place.method), str)]
    parts += ["\n".join(f"- {markdown(words)}" for words in too_few)] if too_few else []
    return "\n\n".join(parts) + "\n"


def _facts(judged: Judgement, short: bool = False) -> list[str]:
    """short: without command and machine, which stand at the first table."""
    said = facts(judged.comparison)
    return [f"- {markdown(line)}" for line in said if not (short and ("made by: " in line or "machine: " in line))]


def _draw(drawn: list[Drawing], folder: Path) -> list[Path]:
    import matplotlib as mpl

    made = []
    for old in folder.glob("*.*"):
        if old.suffix in (".svg", ".png"):
            old.unlink()  # of a comparison before: a figure that is not drawn any more must not stay
    folder.mkdir(exist_ok=True)
    with mpl.rc_context(STYLE):
        for drawing in drawn:
            for kind in ("svg", "png"):
                path = folder / f"{drawing.name}.{kind}"
                about = {"Date": None} if kind == "svg" else {}
                replace(path, lambda t, d=drawing, k=kind, m=about: d.figure.savefig(t, format=k, metadata=m))
                made.append(path)
    return made
