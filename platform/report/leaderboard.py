"""leaderboard.md: every method, its winners, and above all how these numbers came about."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from platform.core.row import Row, SweepInfo, steps_made
from platform.core.uri import redact
from platform.report import pareto
from platform.report.provenance import sentence
from platform.report.standings import OUTCOMES, Standing, paired_difference, repeats, standings


def leaderboard(info: SweepInfo, rows: Sequence[Row]) -> str:
    """Markdown. Methods are compared on repeats of their winners where there are any, else on the winners."""
    ranked = standings(info, rows)
    parts = [f"# {escaped(info.name)}", _proof(info, rows), _methods(info, ranked), _differences(info, ranked)]
    parts += [_winners(ranked), _repeats(rows, ranked)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Text of the user's (names of files, classes, methods) as Markdown that shows it: no HTML, no code, no link."""
    text = " ".join(text.split("\n")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`\[\]*])", r"\\\1", text)


def code(text: str) -> str:
    """The same as a code span, its fence longer than any run of backticks inside."""
    text = " ".join(text.split("\n"))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def number(value: Any) -> str:
    """A hyper-parameter as people read it: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def settings(row: Row) -> str:
    return " ".join(f"{name}={number(value)}" for name, value in row.params.items())


def retrain(info: SweepInfo, row: Row) -> str:
    """The command that trains this very configuration again, as a sweep of one trial."""
    words = [f"name={info.name}-winner", "search={}"]
    fixed = {(name if len(info.methods) == 1 else _full(row, name)): value for name, value in row.params.items()}
    if len(info.methods) > 1:
        entries = info.resolved.get("methods") or info.methods
        written = next((m for m in entries if m == row.method or m.endswith(f"/{row.method}.py")), row.method)
        words.append(f"methods=[{written}]")
        given = info.resolved.get("fixed") or {}
        fixed = {k: v for k, v in given.items() if k.startswith(("train.", f"{row.method}."))} | fixed
        words.append("fixed={" + ", ".join(f"{name}: {_yaml(value)}" for name, value in fixed.items()) + "}")
    else:
        words += [f"fixed.{name}={_yaml(value)}" for name, value in fixed.items()]
    index = int(row.study.rpartition("/")[2] or 0) if row.study.rpartition("/")[2].isdigit() else 0
    if index and "seed" in info.resolved:
        words += [f"seed={int(info.resolved['seed']) + index}", f"seeds.data={row.spec.seeds['data']}"]
    words += ["budget.trials=1", "budget.studies=1"]
    words += ["budget.repeats=0"] if info.repeats else []
    words += ["budget.scheduler=none"] if (info.resolved.get("budget") or {}).get("scheduler") == "pbt" else []
    words += ["budget.seconds=null"] if info.seconds_per_study is not None else []
    typed = redact(info.command).split(" ")
    end = next((i for i, word in enumerate(typed) if word.startswith("--")), len(typed))
    return " ".join([*typed[:end], *map(shlex.quote, words), *typed[end:]])  # argparse: options come last


def _full(row: Row, name: str) -> str:
    return name if name.startswith("train.") else f"{row.method}.{name}"


def _yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _proof(info: SweepInfo, rows: Sequence[Row]) -> str:
    data, labels = info.resolved.get("data") or {}, info.resolved.get("labels") or {}
    studies = max(1, len(info.studies) // max(1, len(info.methods)))
    seeds = sorted({row.seed for row in rows if not row.repeat})
    budget = f"{studies} x {info.budget} of at most {info.steps} steps for every method"
    budget += f", then {counted(info.repeats, 'repeat')} of each winner" if info.repeats else ""
    steps, seconds = sum(steps_made(row) for row in rows), sum(row.spent for row in rows)
    spent = f"{len(rows)} trials, {steps:,} steps, {seconds:,.0f} s of training and evaluation"
    rule = f"`{info.select}` ({'higher' if info.maximise else 'lower'} is better), completed trials only"
    hashes = {name: info.provenance.get(name) for name in ("data_sha256", "labels_sha256")}
    lines = [
        f"Made by {code(redact(info.command))}",
        "",
        f"- budget: {budget}; spent: {spent}",
        f"- winner of a study: best {rule}; test accuracy is recorded and never selected on",
        f"- studies: {studies} per method, seeds {', '.join(map(str, seeds)) or 'none'}; the same splits and initial "
        "weights for every method",
        f"- data: {_words(data)}; labels: {_words(labels)}; model: {escaped(info.resolved.get('model', 'not said'))}",
        f"- machine: {escaped(redact(sentence(info.provenance)))}",
    ]
    if hashes["data_sha256"]:
        lines.append(f"- data sha256 {str(hashes['data_sha256'])[:16]}; label plans {_hashes(hashes['labels_sha256'])}")
    lines += [f"- {escaped(remark)}" for remark in info.remarks]
    lines += [f"- {escaped(line)}" for line in (pareto.said(info, rows) if pareto.asked_for(info) else [])]
    lines += [f"- note: {escaped(note)}" for note in info.provenance.get("data_notes") or []]
    return "\n".join(lines)


def _hashes(labels: Any) -> str:
    if isinstance(labels, dict):
        return ", ".join(f"{name} {str(value)[:16]}" for name, value in labels.items())
    return str(labels)[:16]


def _words(values: dict[str, Any]) -> str:
    said = {k: v for k, v in values.items() if v is not None and not (k == "rate" and not v)}
    return escaped(", ".join(f"{name}={value}" for name, value in said.items())) or "defaults"


def _methods(info: SweepInfo, ranked: Sequence[Standing]) -> str:
    shown = [outcome for outcome in OUTCOMES if outcome != "preempted" or any(s.counts[outcome] for s in ranked)]
    again = any(s.on_repeats for s in ranked)
    head = ["method", escaped(info.select), "test accuracy", *(["repeats"] if again else []), "winners", *shown]
    head += ["seconds searched", *(["seconds repeated"] if any(s.repeated_seconds for s in ranked) else [])]
    lines = [_line(head), _line(["---", *(["---:"] * (len(head) - 1))])]
    for standing in ranked:
        values = [str(standing.score), str(standing.test_accuracy or "not known")]
        if standing.score is None:
            values = [f"no completed {'repeat' if standing.on_repeats else 'trial'}", ""]
        values += [f"{len(standing.repeats)} of {standing.tried}"] if again else []
        values += [f"{len(standing.winners)} of {standing.studies}", *(str(standing.counts[o]) for o in shown)]
        values.append(seconds_spent(info, standing))
        values += [f"{standing.repeated_seconds:,.0f}"] if len(values) < len(head) - 1 else []
        lines.append(_line([escaped(standing.method), *values]))
    caption = (_REPEATS if again else _WINNERS) + (_GRANTED if info.seconds_per_study else "")
    return "## Methods\n\n" + "\n".join(lines) + f"\n\n{caption}"


_WINNERS = (
    "Mean over studies of the winner's score and of its test accuracy, with the 95 % interval of Student's t over "
    "studies. A winner's score is the best of many and therefore flatters; its test accuracy was not chosen."
)
_REPEATS = (
    "Methods are compared on repeats: each study's winner trained again on fresh seeds (noise, split, initial weights, "
    "order), the same for every method, and never selected on; what the search itself scored stands below. The 95 % "
    "interval (Student's t) is over studies where there are several, each the mean of its repeats; of a single study "
    "it is over repeats, and says how the chosen configuration varies, not how another search would have chosen."
)
_GRANTED = (
    " Seconds: what the trials of a study trained and evaluated in their slots, stopped, diverged and failed ones "
    "included, of what it was granted. A study whose seconds are spent starts no trial, and a trial under way ends at "
    "its next evaluation; only the first of a study, the defaults, always runs to its end."
)


def seconds_spent(info: SweepInfo, standing: Standing) -> str:
    """What a method's searches were charged, and granted where seconds are."""
    granted = f" of {info.seconds_per_study * standing.studies:,.0f}" if info.seconds_per_study else ""
    return f"{standing.searched_seconds:,.0f}{granted}"


def _differences(info: SweepInfo, ranked: Sequence[Standing]) -> str:
    """Every method against one reference on what both have: what they share in seeds cancels."""
    reference = "supervised" if "supervised" in info.methods else info.methods[0]
    lines = [
        _line([escaped(standing.method), str(difference)])
        for standing in ranked
        if standing.method != reference and (difference := paired_difference(standing, _of(ranked, reference)))
    ]
    if not lines:
        return ""
    head = [_line(["method", f"test accuracy minus {escaped(reference)}'s"]), _line(["---", "---:"])]
    caption = "Mean of the differences within each study, with the 95 % interval of Student's t over studies."
    if any(s.on_repeats for s in ranked):
        caption = "Mean of the differences within each repeat (same seeds), with the interval as above."
    return f"## Against {escaped(reference)}\n\n" + "\n".join([*head, *lines]) + f"\n\n{caption}"


def _of(ranked: Sequence[Standing], method: str) -> Standing:
    return next(standing for standing in ranked if standing.method == method)


def _winners(ranked: Sequence[Standing]) -> str:
    rows = [row for standing in ranked for row in standing.winners]
    if not rows:
        return ""
    lines = [_line(["study", "trial", "score", "test accuracy", "steps", "hyper-parameters"])]
    lines.append(_line(["---", "---", "---:", "---:", "---:", "---"]))
    for row in rows:
        test = "" if row.test_accuracy is None else f"{row.test_accuracy:.4f}"
        hyper = code(settings(row)) if row.params else ""
        lines.append(_line([escaped(row.study), f"`{row.key}`", f"{row.score:.4f}", test, str(row.steps), hyper]))
    return "## Winners\n\n" + "\n".join(lines)


def _repeats(rows: Sequence[Row], ranked: Sequence[Standing]) -> str:
    found = [row for standing in ranked for won in standing.winners for row in repeats(rows, won)]
    if not found:
        return ""
    lines = [_line(["study", "repeat", "seed", "trial", "outcome", "score", "test accuracy", "seconds"])]
    lines.append(_line(["---", "---:", "---:", "---", "---", "---:", "---:", "---:"]))
    for row in found:
        numbers = ["" if value is None else f"{value:.4f}" for value in (row.score, row.test_accuracy)]
        head = [escaped(row.study), str(row.repeat), str(row.seed), f"`{row.key}`", row.outcome or "running"]
        lines.append(_line([*head, *numbers, f"{row.spent:,.0f}"]))
    return "## Repeats\n\n" + "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
