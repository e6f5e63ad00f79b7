"""Compares methods: which one is better, by how much, and how sure that is.

python -m platform.compare results/A [results/B ...] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from platform.core.errors import UserError
from platform.core.invocation import program

if TYPE_CHECKING:
    from rich.console import Console

    from platform.report.judge.comparison_figures import Drawing
    from platform.report.judge.judgement import Judgement


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: compared. 2: there is nothing to compare, or it cannot be compared."""
    options = _parser().parse_args(argv)
    try:
        return _compare(options)
    except UserError as error:
        print(error.render("nothing was compared"), file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("compare"),
        description="Leaderboard, differences with intervals, tests and figures of one or more sweeps.",
        epilog=f"example: {program('compare')} results/benchmark        A CSV file of other tools has the columns "
        "method,study,seed,score,cost; score: higher is better, cost: device-seconds of a study's tuning, or empty.",
    )
    parser.add_argument("results", nargs="+", type=Path, metavar="results/NAME", help="folders of sweeps, CSV files")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where files go (default: comparison/ in the first folder)"
    )
    parser.add_argument("--export", type=Path, metavar="FILE.csv", help="also write all scores as a plain CSV file")
    parser.add_argument("--allow-unequal", action="store_true", help="compare unequal budgets or rules, and mark it")
    return parser


def _compare(options: argparse.Namespace) -> int:
    from rich.console import Console

    from platform.report.judge.comparison import open_comparison
    from platform.report.judge.comparison_figures import drawings
    from platform.report.judge.comparison_files import write_comparison
    from platform.report.judge.judgement import judge

    judged = judge(open_comparison(options.results, options.allow_unequal))
    first = options.results[0]
    folder = options.out or (first / "comparison" if first.is_dir() else first.with_suffix("") / "comparison")
    exported = [_export(judged, options.export)] if options.export else []
    try:
        drawn = drawings(judged)
        made = write_comparison(judged, folder, drawn)
        made = [*_report(judged, folder, drawn), *made]  # last: the page uses the figures up
    except OSError as error:
        raise _cannot_write(folder, error) from error
    print_comparison(Console(highlight=False), judged, [*made, *exported])
    return 0


def _report(judged: Judgement, folder: Path, drawn: Sequence[Drawing]) -> list[Path]:
    """report.html; where drawing it fails, the reason in words, and the other files are written all the same."""
    from platform.report.html.report_page import write_report

    try:
        return [write_report(judged, folder, drawn)]
    except OSError:
        raise
    except Exception as error:
        print(f"report.html could not be written: {type(error).__name__}: {error}", file=sys.stderr)
        return []


def print_comparison(console: Console, judged: Judgement, made: list[Path]) -> None:
    """The verdict, the leaderboard, and where the files lie; fits 80 columns."""
    from rich.text import Text

    from platform.report.judge.score_tables import short_leaderboard, to_terminal
    from platform.report.judge.verdict import verdict

    for sentence in verdict(judged):
        console.print(Text(sentence))
    console.print()
    console.print(to_terminal(short_leaderboard(judged)))
    console.print()
    for line in _notes(judged):
        console.print(Text(line, style="dim"))
    console.print()
    for words, path in _places(made):
        console.print(Text(f"{words:<12}{path}"), soft_wrap=True)


def _notes(judged: Judgement) -> list[str]:
    from platform.report.judge.comparison_facts import conditions

    lines = ["Bold: the best mean and what is not significantly worse. [95 % interval]. seconds: all searches."]
    if any(method.outside for method in judged.comparison.methods):
        lines.append("* read from a CSV file, not run here")
    lines += conditions(judged.comparison)
    return lines + ([judged.ranks] if isinstance(judged.ranks, str) else [])


def _places(made: list[Path]) -> list[tuple[str, Path]]:
    shown = [path for path in made if path.suffix not in (".svg", ".png")]
    words = {"report": "report", "leaderboard": "leaderboard", "pairs": "pairs"}
    places = [(words.get(path.stem, "scores"), path) for path in shown]
    return places + [("figures", path.parent) for path in made if path.suffix == ".svg"][:1]


def _export(judged: Judgement, path: Path) -> Path:
    from platform.core.errors import Problem
    from platform.report.judge.compared_method import to_scores
    from platform.report.judge.score_csv import write_scores

    if not judged.comparison.metric.maximise:
        name = judged.comparison.metric.name
        raise UserError(Problem(f"{name} is better when low; a CSV file holds scores of which higher is better"))
    try:
        write_scores(path, to_scores(judged.comparison.methods))
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def _cannot_write(path: Path, error: OSError) -> UserError:
    from platform.core.errors import Problem

    return UserError(Problem(f"cannot write there: {error.strerror}", str(path), hint="another place: --out DIR"))


if __name__ == "__main__":
    sys.exit(main())
