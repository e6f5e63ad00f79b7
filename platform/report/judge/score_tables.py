"""Leaderboard and pairs as tables, each with one list of columns and cells: Markdown, LaTeX, the terminal; and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from platform.core.row import Outcome
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.differences import RANKS_FROM, Difference
from platform.report.judge.escaping import latex, markdown, one_line
from platform.report.judge.estimate import Estimate
from platform.report.judge.judgement import Judgement, Place

if TYPE_CHECKING:
    from rich.table import Table


OUTCOMES: tuple[str, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Cell:
    """Plain text of a table, bold where it leads."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class TextTable:
    """Plain text, escaped only where it is rendered. right: which columns are numbers. caption: what they mean."""

    title: str
    head: list[str]
    right: list[bool]
    rows: list[list[Cell]]
    caption: str = ""


def to_markdown(table: TextTable) -> str:
    """The table and its caption below it; the title is left to the document's headings."""
    lines = [_pipes(map(markdown, table.head)), _pipes("---:" if right else "---" for right in table.right)]
    for row in table.rows:
        lines.append(_pipes(f"**{markdown(c.text)}**" if c.bold and c.text else markdown(c.text) for c in row))
    return "\n".join([*lines, *(["", markdown(table.caption)] if table.caption else [])])


def _pipes(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def to_latex(table: TextTable, facts: Sequence[str] = (), label: str = "") -> str:
    """A table of booktabs. facts: lines before it, as comments; label: plain letters."""
    columns = "".join("r" if right else "l" for right in table.right)
    lines = [
        *(f"% {one_line(fact)}" for fact in facts),
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\footnotesize",
    ]
    lines.append(r"\setlength{\tabcolsep}{4pt}")
    lines += [rf"\caption{{{latex(table.caption or table.title)}}}", *([rf"\label{{{label}}}"] if label else [])]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _ampersands(map(latex, table.head)), r"\midrule"]
    for row in table.rows:
        lines.append(_ampersands(rf"\textbf{{{latex(c.text)}}}" if c.bold and c.text else latex(c.text) for c in row))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _ampersands(cells: Any) -> str:
    """A bracket at the start of a row would be read as the argument of the line break before it."""
    return " & ".join(f"{{}}{cell}" if cell.startswith("[") else cell for cell in cells) + r" \\"


def to_terminal(table: TextTable) -> Table:
    """A table of rich; names in the first column are broken where they are too long, numbers never."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, (name, right) in enumerate(zip(table.head, table.right, strict=True)):
        made.add_column(Text(name), justify="right" if right else "left", overflow="fold", no_wrap=place > 0)
    for row in table.rows:
        made.add_row(*(Text(one_line(cell.text), style="bold" if cell.bold else "") for cell in row))
    return made


# -- the leaderboard ---------------------------------------------------------------------------------------------------


def leaderboard_table(judged: Judgement) -> TextTable:
    """Every method: mean, median, interquartile mean with intervals; what its searches gave and cost."""
    several = _several_origins(judged)
    head = ["method", *(["from"] if several else []), judged.comparison.metric.name, "median", "interquartile mean"]
    head += [_block_word(judged), "score of winners", "defaults won", "trials", "seconds searched", "seconds of winner"]
    right = [False, *([False] if several else []), *[True] * 6, False, True, True]
    rows = [_line(judged, place, several) for place in judged.places]
    bold = "Bold: the best mean and what is not significantly worse (Holm over all pairs, 5 %). "
    return TextTable("Leaderboard", head, right, rows, bold + _interval_words(judged))


def paper_leaderboard(judged: Judgement) -> TextTable:
    """The leaderboard in a form that fits the width of a page; why a method has no result stands in the caption."""
    head = ["method", judged.comparison.metric.name, "median", "IQM", _block_word(judged), "seconds"]
    rows, reasons = [], []
    for place in judged.places:
        name = place.method.name + (" *" if place.method.outside else "")
        numbers = [_number(place.median, 4), _number(place.quartiles, 4), str(place.mean.n) if place.mean else "0"]
        mean = place.mean.text(4) if place.mean else _none(place.method)
        reasons += [] if place.mean else [f" {name}: {place.method.remark.removeprefix('not compared: ')}."]
        cells = [name, mean, *numbers, _searched(place)]
        rows.append([Cell(text, place.leading and i < 2) for i, text in enumerate(cells)])
    caption = f"{leaderboard_table(judged).caption} IQM: interquartile mean.{''.join(reasons)}"
    caption += " *: not run here." if any(method.outside for method in judged.comparison.methods) else ""
    return TextTable("Leaderboard", head, [False, *[True] * 5], rows, caption)


def short_leaderboard(judged: Judgement) -> TextTable:
    """The leaderboard in a form that fits 80 columns."""
    head = ["method", judged.comparison.metric.name, "median", "IQM", _block_word(judged), "seconds"]
    rows = []
    for place in judged.places:
        if place.mean is None:
            rows.append([Cell(place.method.name), Cell(_none(place.method)), *[Cell("")] * 3, Cell(_searched(place))])
            continue
        numbers = [_number(estimate, 3) for estimate in (place.median, place.quartiles)]
        name = place.method.name + (" *" if place.method.outside else "")
        rows.append(
            [
                Cell(name, place.leading),
                Cell(place.mean.text(3), place.leading),
                *map(Cell, numbers),
                Cell(str(place.mean.n)),
                Cell(_searched(place)),
            ]
        )
    return TextTable("Leaderboard", head, [False, *[True] * 5], rows)


def _line(judged: Judgement, place: Place, several: bool) -> list[Cell]:
    method = place.method
    start = [method.name, *([method.source + (" (not run here)" if method.outside else "")] if several else [])]
    if place.mean is None:
        middle = [f"{_none(method)}: {method.remark.removeprefix('not compared: ')}", "", "", "0"]
    else:
        middle = [_full(place.mean), _full(place.median), _full(place.quartiles), str(place.mean.n)]
    scores = list(method.selection.values())
    score = f"{sum(scores) / len(scores):.4f}" if scores else ""
    won = f"{method.defaults_won} of {len(method.selection)}" if method.selection else ""
    counts = ", ".join(f"{method.counts[name]} {name}" for name in (*OUTCOMES, "running") if method.counts[name])
    trained = f"{sum(method.trained) / len(method.trained):,.0f}" if method.trained else ""
    cells = [*start, *middle, score, won, counts, _searched(place), trained]
    return [Cell(text, place.leading and i in (0, len(start))) for i, text in enumerate(cells)]


def _none(method: ComparedMethod) -> str:
    return "not compared" if method.remark.startswith("not compared") else "no result"


def _full(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return estimate.text(4) + (f" ({estimate.why})" if estimate.low is None and estimate.why else "")


def _number(estimate: Estimate | None, digits: int) -> str:
    return "" if estimate is None else f"{estimate.value:.{digits}f}"


def _searched(place: Place) -> str:
    return f"{sum(place.method.searched.values()):,.0f}" if place.method.searched else ""


def _several_origins(judged: Judgement) -> bool:
    return len(judged.comparison.origins) > 1 or any(method.outside for method in judged.comparison.methods)


def _block_word(judged: Judgement) -> str:
    if judged.comparison.by_study:
        return "studies"
    return "repeats" if judged.comparison.on_repeats else "seeds"


def _interval_words(judged: Judgement) -> str:
    over = _block_word(judged)
    on = "each the mean of its repeats" if judged.comparison.on_repeats and judged.comparison.by_study else ""
    words = f"95 % intervals over {over}{', ' + on if on else ''}: Student's t below 10 (of accuracies on the logit "
    words += (
        "scale), a stratified BCa bootstrap with expanded quantiles from 10 on; of medians between order statistics. "
    )
    words += (
        "Score of winners: by the selection rule, the best of many, so it flatters. Seconds: device-seconds of all "
    )
    return words + "searches of a method, and of its winners' training on average."


# -- pairs -------------------------------------------------------------------------------------------------------------


def pairs_table(judged: Judgement) -> TextTable:
    """Every pair: difference, tests, probability of improvement."""
    head = [
        "methods",
        "difference",
        _block_word(judged),
        "p (t)",
        "p (Holm)",
        "p (Wilcoxon, Holm)",
        "P(improvement)",
        "sure",
    ]
    rows = [_pair(pair) for pair in judged.differences]
    caption = (
        "The first minus the second on the blocks that both have, with the 95 % interval as above, not adjusted. p: "
        "paired t test; adjusted by Holm over all pairs, where at most 5 % is called sure. Wilcoxon's signed-rank test "
        f"from {RANKS_FROM} blocks on; below that the smallest p that it could reach. P(improvement): that a run of "
        "the first is better than one of the second (Agarwal et al., 2021), its interval from 10 blocks on."
    )
    return TextTable("Pairs", head, [False, *[True] * 6, False], rows, caption)


def paper_pairs(judged: Judgement) -> TextTable:
    """Pairs in a form that fits the width of a page: what is sure, and by how much."""
    head = ["methods", "difference", "p (Holm)", "P(impr.)"]
    caption = (
        "The first minus the second on the blocks that both have, with the 95 % interval, not adjusted. p: paired t "
        "test, adjusted by Holm over all pairs; bold where it is at most 5 %. P(impr.): that a run of the first is "
        "better than one of the second (Agarwal et al., 2021)."
    )
    rows = []
    for pair in judged.differences:
        cells = [f"{pair.a} - {pair.b}", pair.estimate.text(3), _p(pair.holm)]
        cells.append(f"{pair.improvement.value:.2f}")
        rows.append([Cell(text, pair.sure and place == 1) for place, text in enumerate(cells)])
    return TextTable("Pairs", head, [False, *[True] * 3], rows, caption)


def _pair(pair: Difference) -> list[Cell]:
    tests = [_p(pair.p), _p(pair.holm)]
    ranks = _p(pair.holm_wilcoxon) if pair.wilcoxon is not None else f"at best {pair.reachable:.3g}"
    cells = [f"{pair.a} - {pair.b}", _full(pair.estimate), str(pair.estimate.n), *tests, ranks]
    cells += [pair.improvement.text(2), "yes" if pair.sure else "no"]
    return [Cell(text, pair.sure and place in (0, 1)) for place, text in enumerate(cells)]


def _p(value: float | None) -> str:
    return "none below 3" if value is None else "< 0.0001" if value < 0.0001 else f"{value:.4f}"


# -- CSV ---------------------------------------------------------------------------------------------------------------


def leaderboard_csv(judged: Judgement, conditions: str) -> str:
    """Numbers in full; empty where there is none. conditions: how they came about, in the last column."""
    records = []
    for place in judged.places:
        method = place.method
        record: dict[str, Any] = {"method": method.name, "source": method.source, "outside": method.outside}
        record |= {"metric": judged.comparison.metric.name, "blocks": place.mean.n if place.mean else 0}
        for name, estimate in (("mean", place.mean), ("median", place.median), ("iqm", place.quartiles)):
            values = (estimate.value, estimate.low, estimate.high) if estimate else (None, None, None)
            record |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
        scores = list(method.selection.values())
        record |= {"not_significantly_worse": place.leading, "winners": len(scores)}
        record |= {"score": sum(scores) / len(scores) if scores else None}
        record |= {"defaults_won": method.defaults_won, **{name: method.counts[name] for name in OUTCOMES}}
        record |= {"seconds_searched": sum(method.searched.values()) if method.searched else None}
        record |= {"seconds_winner": sum(method.trained) / len(method.trained) if method.trained else None}
        record |= {"remark": method.remark, "unequal_budgets": judged.comparison.unequal}
        records.append(record | {"conditions": conditions})
    return _csv(records)


def pairs_csv(judged: Judgement, conditions: str) -> str:
    """Numbers in full, as `leaderboard_csv`; only the head where there is no pair."""
    records = [
        {
            "a": pair.a,
            "b": pair.b,
            "difference": pair.estimate.value,
            "low": pair.estimate.low,
            "high": pair.estimate.high,
            "blocks": pair.estimate.n,
            "p": pair.p,
            "p_holm": pair.holm,
            "p_wilcoxon": pair.wilcoxon,
            "p_wilcoxon_holm": pair.holm_wilcoxon,
            "smallest_p_of_ranks": pair.reachable,
            "improvement": pair.improvement.value,
            "improvement_low": pair.improvement.low,
            "improvement_high": pair.improvement.high,
            "sure": pair.sure,
            "unequal_budgets": judged.comparison.unequal,
            "conditions": conditions,
        }
        for pair in judged.differences
    ]
    return _csv(records)


def _csv(records: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]) if records else ["a", "b"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
