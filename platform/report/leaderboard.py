"""leaderboard.md: every method, its winners, and how the numbers were made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from platform.core.redaction import redact, redact_command
from platform.core.row import Row, SweepInfo, steps_made
from platform.report import pareto
from platform.report.judge.estimate import Estimate
from platform.report.provenance import sentence
from platform.report.standings import OUTCOMES, Standing, paired_difference, repeats, standings, with_n
from platform.report.table import Column, Table, code, escaped
from platform.report.trial_text import counted, settings
from platform.report.typed_command import with_settings


def leaderboard(info: SweepInfo, rows: Sequence[Row]) -> str:
    """Markdown. Methods are compared on repeats of their winners where there are any, else on the winners."""
    ranked = standings(info, rows)
    parts = [f"# {escaped(info.name)}", _proof(info, rows), _methods(info, ranked), _differences(info, ranked)]
    parts += [_winners(info, ranked), _repeats(info, rows, ranked)]
    return "\n\n".join(part for part in parts if part) + "\n"


def retrain(info: SweepInfo, row: Row) -> str:
    """The command that trains this very configuration again, as a sweep of one trial."""
    words = [f"name={info.name}-winner", "search={}"]
    fixed = {(name if len(info.methods) == 1 else _full(row, name)): value for name, value in row.params.items()}
    if len(info.methods) > 1:
        entries = info.resolved.get("methods") or info.methods
        written = next((m for m in entries if m == row.method or m.endswith(f"/{row.method}.py")), row.method)
        words.append(f"methods=[{written}]")
    given = info.resolved.get("fixed") or {}
    kept = {key: value for key, value in given.items() if key.startswith("train.") or _took(row, key, value)}
    if len(info.methods) > 1 or len(kept) < len(given):
        fixed = kept | fixed
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
    return with_settings(info.command, words)


def _took(row: Row, key: str, value: Any) -> bool:
    """Whether a fixed METHOD.HYPER is the row's own and acted there: what does not act has its default."""
    method, _, hyper = key.partition(".")
    return method == row.method and row.spec.hyper.get(hyper) == value


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
        f"Made by {code(redact_command(info.command))}",
        "",
        f"- budget: {budget}; spent: {spent}",
        f"- winner of a study: best {rule}; {info.test_accuracy_name} is recorded and never selected on",
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
    columns: list[Column[Standing]] = [
        Column("method", lambda s: s.method),
        _right(info.select, lambda s: no_score(s) if s.score is None else with_n(s.score)),
        _right(info.test_accuracy_name, _test_accuracy),
        *([_right("repeats", repeats_completed)] if again else []),
        _right("winners", lambda s: f"{len(s.winners)} of {s.studies}"),
        *(_outcome_count(outcome) for outcome in shown),
        _right("seconds searched", lambda s: seconds_spent(info, s)),
    ]
    if any(s.repeated_seconds for s in ranked):
        columns.append(_right("seconds repeated", lambda s: f"{s.repeated_seconds:,.0f}"))
    caption = _REPEATS if again else _WINNERS.format(accuracy=info.test_accuracy_name)
    caption += _INTERVALS + (_GRANTED if info.seconds_per_study else "")
    return f"## Methods\n\n{Table(columns, ranked).markdown()}\n\n{caption}"


def _test_accuracy(standing: Standing) -> str:
    if standing.score is None:
        return ""
    return "not known" if standing.test_accuracy is None else with_n(standing.test_accuracy)


def _outcome_count(outcome: str) -> Column[Standing]:
    return _right(outcome, lambda standing: str(standing.counts[outcome]))


def _right(name: str, cell: Callable[[Any], str]) -> Column[Any]:
    return Column(name, cell, "right")


_WINNERS = (
    "Mean over studies of the winner's score and of its {accuracy}, with its 95 % interval over studies. A winner's "
    "score is the best of many and therefore flatters; its {accuracy} was not chosen."
)
_REPEATS = (
    "Methods are compared on repeats: each study's winner trained again on fresh seeds (noise, split, initial weights, "
    "order), the same for every method, and never selected on; what the search itself scored stands below. The 95 % "
    "interval is over studies where there are several, each the mean of its repeats; of a single study "
    "it is over repeats, and says how the chosen configuration varies, not how another search would have chosen."
)
_INTERVALS = (
    " Intervals are those of `python -m platform.compare`: Student's t below 10 values, of accuracies on the logit "
    "scale, a bootstrap from 10 on; none below 3 values, nor of equal values, whose spread is unknown, not nothing."
)
_GRANTED = (
    " Seconds: what the trials of a study trained and evaluated in their slots, stopped, diverged and failed ones "
    "included, of what it was granted. A study whose seconds are spent starts no trial, and a trial under way ends at "
    "its next evaluation; only the first of a study, the defaults, always runs to its end."
)


def seconds_spent(info: SweepInfo, standing: Standing) -> str:
    """The seconds that a method's searches were charged, and those granted where the budget is in seconds."""
    granted = f" of {info.seconds_per_study * standing.studies:,.0f}" if info.seconds_per_study else ""
    return f"{standing.searched_seconds:,.0f}{granted}"


def no_score(standing: Standing) -> str:
    """The reason why a method has no score."""
    return f"no completed {'repeat' if standing.on_repeats else 'trial'}"


def repeats_completed(standing: Standing) -> str:
    """Repeats that completed, of those that were run."""
    return f"{len(standing.repeats)} of {standing.tried}"


def _differences(info: SweepInfo, ranked: Sequence[Standing]) -> str:
    """Every method against one reference on what both have: what they share in seeds cancels."""
    reference = "supervised" if "supervised" in info.methods else info.methods[0]
    base = next(standing for standing in ranked if standing.method == reference)
    differences = [(s.method, paired_difference(s, base)) for s in ranked if s.method != reference]
    known = [(method, difference) for method, difference in differences if difference]
    if not known:
        return ""
    columns = [
        Column[tuple[str, Estimate]]("method", lambda pair: pair[0]),
        _right(f"{info.test_accuracy_name} minus {reference}'s", lambda pair: with_n(pair[1])),
    ]
    caption = "Mean of the differences within each study, with its 95 % interval (Student's t below 10 studies)."
    if any(s.on_repeats for s in ranked):
        caption = "Mean of the differences within each repeat (same seeds), with the interval as above."
    return f"## Against {reference}\n\n{Table(columns, known).markdown()}\n\n{caption}"


def _scores(info: SweepInfo) -> tuple[Column[Row], ...]:
    return (
        _right("score", lambda row: "" if row.score is None else f"{row.score:.4f}"),
        _right(info.test_accuracy_name, lambda row: "" if row.test_accuracy is None else f"{row.test_accuracy:.4f}"),
    )


_STUDY: Column[Row] = Column("study", lambda row: row.study)
_TRIAL: Column[Row] = Column("trial", lambda row: row.key, code=True)


def _winners(info: SweepInfo, ranked: Sequence[Standing]) -> str:
    rows = [row for standing in ranked for row in standing.winners]
    if not rows:
        return ""
    steps = _right("steps", lambda row: str(row.steps))
    columns = [_STUDY, _TRIAL, *_scores(info), steps, Column[Row]("hyper-parameters", settings, code=True)]
    return f"## Winners\n\n{Table(columns, rows).markdown()}"


def _repeats(info: SweepInfo, rows: Sequence[Row], ranked: Sequence[Standing]) -> str:
    repeated = [row for standing in ranked for won in standing.winners for row in repeats(rows, won)]
    if not repeated:
        return ""
    columns = [
        _STUDY,
        _right("repeat", lambda row: str(row.repeat)),
        _right("seed", lambda row: str(row.seed)),
        _TRIAL,
        Column[Row]("outcome", lambda row: row.outcome or "running"),
        *_scores(info),
        _right("seconds", lambda row: f"{row.spent:,.0f}"),
    ]
    return f"## Repeats\n\n{Table(columns, repeated).markdown()}"
