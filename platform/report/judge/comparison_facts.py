"""Facts on the origin of a comparison's numbers: budget, studies, seeds, rule, labels, hashes; given by every table."""

from __future__ import annotations

from collections.abc import Sequence

from platform.core.row import SweepInfo
from platform.core.uri import redact
from platform.report.judge.comparison import Comparison, Origin, budget_words
from platform.report.provenance import sentence

SHOWN = 12
"""Hexadecimal digits of a hash."""


def conditions(comparison: Comparison) -> list[str]:
    """`facts` without commands and machines."""
    return [line for line in facts(comparison) if "made by: " not in line and "machine: " not in line]


def facts(comparison: Comparison) -> list[str]:
    """A line for each fact of each folder and file, as plain text."""
    found = []
    for origin in comparison.origins:
        head = f"{origin.label}: " if len(comparison.origins) > 1 else ""
        lines = _of_sweep(origin, origin.info) if origin.info is not None else _of_file(comparison, origin)
        found += [head + line for line in lines]
    if comparison.unequal:
        found.append("UNEQUAL: budgets or selection rules differ between the folders (--allow-unequal)")
    return found


def _of_file(comparison: Comparison, origin: Origin) -> list[str]:
    mine = [method for method in comparison.methods if method.source == origin.label]
    studies = list(dict.fromkeys(study for method in mine for study in method.studies))
    return [
        f"scores read from a file, not run here: {len(mine)} methods, studies {_few(studies)}; budget, rule, labels "
        "and hashes are not known"
    ]


def _of_sweep(origin: Origin, info: SweepInfo) -> list[str]:
    search = [row for row in origin.rows if not row.repeat]
    studies = max(1, len(info.studies) // max(1, len(info.methods)))
    budget = (
        f"budget: {studies} studies per method, each {budget_words(info)}"
        if studies > 1
        else (f"budget: one study per method, {budget_words(info)}")
    )
    budget += f", then {info.repeats} repeats of each winner" if info.repeats else ""
    given = info.resolved.get("budget") or {}
    seeds = sorted({row.seed for row in search})
    labels = origin.labels
    training = "not recorded" if labels.training is None else f"{labels.training:,} labels"
    selection = "not recorded" if labels.selection is None else f"{labels.selection:,} labels"
    lines = [
        f"{budget}; sampler {given.get('sampler', 'not said')}, scheduler {given.get('scheduler', 'not said')}",
        f"seeds: {_few([str(seed) for seed in seeds])}",
        f"rule that picks winners: {info.select} ({'higher' if info.maximise else 'lower'} is better)",
        f"training used {training}, selection {selection} of its own; {_truth(labels.truth)}",
        f"labels: {_settings(info, 'labels')}; data: {_settings(info, 'data')}",
        f"model: {info.resolved.get('model', 'not said')}",
        _hashes(origin),
    ]
    lines += [f"made by: {redact(info.command)}"] if info.command else []
    lines += [f"machine: {redact(sentence(info.provenance))}"] if info.provenance else []
    return lines


def _truth(known: bool | None) -> str:
    if known is None:
        return "whether true labels are known was not recorded"
    return "true labels are known" if known else "true labels are not known: accuracy is against doubtful labels"


def _settings(info: SweepInfo, section: str) -> str:
    values = info.resolved.get(section) or {}
    said = {key: value for key, value in values.items() if value is not None and not (key == "rate" and not value)}
    return ", ".join(f"{key}={value}" for key, value in said.items()) or "defaults"


def _hashes(origin: Origin) -> str:
    search = [row for row in origin.rows if not row.repeat]
    data = dict.fromkeys(row.spec.data_hash[:SHOWN] for row in search)
    labels: dict[str, str] = {}
    for row in search:
        labels.setdefault(row.study.rpartition("/")[2], row.spec.labels_hash[:SHOWN])
    plans = ", ".join(f"study {study} {value or 'none'}" for study, value in labels.items())
    return f"data hash {', '.join(value or 'none' for value in data)}; label hashes: {plans}"


def _few(words: Sequence[str], most: int = 12) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more if words else "none"
