"""Checks beyond the schema: names that must exist, settings that need or exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from platform.core.errors import did_you_mean
from platform.core.plugins import BrokenPlugin, UnknownPlugin
from platform.core.registry import METHODS, RULES, SOURCES, noise_kinds
from platform.core.spec import DataSettings, LabelSettings
from platform.sweepfile.checked_sweep import FRESH
from platform.sweepfile.error_text import errors_of, field_schema, show, wrong
from platform.sweepfile.plug_in_files import find_file, portable_path, report_broken
from platform.sweepfile.schema import MOST_PLANS, MOST_ROWS, SweepFile
from platform.sweepfile.space import MethodEntry
from platform.sweepfile.yaml_tree import Document

CATALOG = "python -m platform.catalog"


def check_methods(document: Document, written: Sequence[str], folder: Path) -> tuple[list[MethodEntry], bool]:
    """Load the methods. Returns those that loaded, and whether all did."""
    if not written and not document.has_problem("methods"):
        hint = f"methods: [fixmatch]        ({CATALOG} lists all)"
        document.report(("methods",), "names no method", hint)
    entries: list[MethodEntry] = []
    for position, name in enumerate(written):
        path = ("methods", position)
        entry = _method(document, path, name, folder)
        if entry is None:
            continue
        if entry.name in (e.name for e in entries):
            document.report(path, f"'{entry.name}' is listed twice")
        elif entry.name == "train":
            document.report(
                path, "a method cannot be called 'train'", "rename the file: train.KEY is a training setting"
            )
        else:
            entries.append(entry)
    return entries, len(entries) == len(written) and bool(written)


def _method(document: Document, path: tuple[str | int, ...], name: str, folder: Path) -> MethodEntry | None:
    try:
        if not name.endswith(".py"):
            return MethodEntry(name, METHODS.get(name))
        file = find_file(name, folder)
        cls = METHODS.from_file(file)
        return MethodEntry(file.stem, cls, file.read_text(), portable_path(file))
    except UnknownPlugin:
        document.report(path, f"no such method: '{name}'", did_you_mean(name, METHODS.names(), CATALOG))
    except BrokenPlugin as error:
        report_broken(document, path, name, error, folder)
    return None


def check_names(document: Document, file: SweepFile) -> None:
    """Check the names of model and selection rule, and the tracking URI."""
    import platform.models as models
    from platform.core import uri

    problem = None if document.has_problem("model") else models.check(file.model)
    if problem:
        document.report(("model",), problem.message, problem.hint)
    known = file.select.endswith(".py") or file.select in RULES.names()
    if not document.has_problem("select") and not known:
        hint = did_you_mean(file.select, RULES.names(), CATALOG)
        document.report(("select",), f"no such selection rule: '{file.select}'", hint)
    problem = None if document.has_problem("tracking") or file.tracking == "none" else uri.problem(file.tracking)
    if problem:
        document.report(("tracking",), problem.message, problem.hint)


def check_data(document: Document, data: DataSettings) -> None:
    """Check the source's name, and its options against the source's own model."""
    if document.has_problem("data", "source"):
        return
    try:
        source = SOURCES.get(data.source)
    except LookupError:
        hint = did_you_mean(data.source, SOURCES.names(), CATALOG)
        document.report(("data", "source"), f"no such data source: '{data.source}'", hint)
        return
    except BrokenPlugin as error:
        document.report(("data", "source"), f"{error.name}: {error.reason}", error.trace)
        return
    own = [name for name in DataSettings.model_fields if name not in source.Options.model_fields]
    for error in errors_of(source.Options, data.options):
        name = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            valid = [*source.Options.model_fields, *own]
            hint = did_you_mean(name, valid, f"{CATALOG} {data.source}")
            document.report(("data", name), f"no such option of source '{data.source}'", hint)
        elif error["type"] == "missing":
            help_ = source.Options.model_fields[name].description or ""
            document.report(("data", name), f"missing; source '{data.source}' needs it", f"{name}: {help_}")
        else:
            document.report(("data", name) if name else ("data",), *_message_and_hint(source.Options, name, error))


def _message_and_hint(model: type[BaseModel], name: str, error: dict[str, Any]) -> tuple[str, str]:
    if not name or error["type"] in ("value_error", "assertion_error"):
        return str(error.get("ctx", {}).get("error", error["msg"])), ""
    return wrong(error["input"], *field_schema(model, name))


def check_labels(document: Document, labels: LabelSettings) -> None:
    """Check counts that exclude each other, and noise that needs a rate or takes none."""
    where = document.node(("labels",))
    written = where.data if where is not None and isinstance(where.data, dict) else {}
    if labels.per_class is not None and labels.total is not None:
        document.report(("labels", "total"), "excludes per_class; keep one of the two")
    if labels.val >= 1 and labels.val != int(labels.val):
        message = f"{show(labels.val)} is neither a part below 1 nor a whole number of images"
        document.report(("labels", "val"), message)
    if document.has_problem("labels", "noise") or document.has_problem("labels", "rate"):
        return
    drawn = labels.noise != "none" and not labels.noise.startswith("column:")
    if drawn and not labels.noise.endswith(".py") and labels.noise not in noise_kinds():
        document.report(("labels", "noise"), *noise_hint(labels.noise))
        return
    if drawn and labels.rate == 0:
        place = ("labels", "rate") if "rate" in written else ("labels", "noise")
        document.report(place, f"{labels.noise} noise needs a rate above 0", "add to labels: rate: 0.4")
    if not drawn and labels.rate > 0:
        hint = f"noise with a rate: {', '.join(k for k in noise_kinds() if k not in ('none', 'column:NAME'))}"
        document.report(("labels", "rate"), f"noise '{labels.noise}' takes no rate", hint)


def noise_hint(value: Any) -> tuple[str, str]:
    """Message and hint for a noise that does not match the pattern."""
    kinds = noise_kinds()
    if isinstance(value, str) and value.strip() in ("column", "column:"):
        return "column: needs the NAME of a label column", "for example column:worse_label"
    if isinstance(value, str):
        return f"no such noise: '{value}'", did_you_mean(value, kinds, CATALOG)
    return f"{show(value)} is not a kind of noise", f"valid: {', '.join(kinds)}"


def check_budget(document: Document, file: SweepFile) -> None:
    """Check that the budget can be spent as written. More evaluations than steps mean one after each step."""
    if document.has_problem("train") or document.has_problem("budget"):
        return
    train, budget = file.train, file.budget
    _check_amount(document, file)
    if budget.trials is None and budget.seconds is None:
        document.report(("budget", "trials"), "no number, and no seconds either", "write trials: 16, or seconds: 3600")
    if budget.repeats and not document.has_problem("seeds") and set(FRESH) <= set(file.seeds):
        hint = f"leave one of {', '.join(FRESH)} out of seeds, or write repeats: 0"
        document.report(("budget", "repeats"), "seeds pins every axis: all repeats would be one trial", hint)
    if budget.scheduler == "asha" and document.node(("budget", "grace")) and budget.grace >= train.evaluations:
        message = f"a grace of {budget.grace} leaves ASHA nothing to judge: a trial has {train.evaluations} evaluations"
        document.report(("budget", "grace"), message, "lower it, or write scheduler: none")
    if train.warmup >= train.steps and train.warmup:
        document.report(("train", "warmup"), f"{train.warmup} steps of warm-up leave none of {train.steps} steps")


def _check_amount(document: Document, file: SweepFile) -> None:
    """More rows or label plans than memory and patience hold."""
    budget, many = file.budget, max(1, len(file.methods))
    plans = budget.studies * (1 + budget.repeats)
    rows = many * budget.studies * ((budget.trials or 0) + budget.repeats)
    key = ("budget", "repeats" if budget.repeats > budget.studies else "studies")
    if plans > MOST_PLANS:
        message = f"{budget.studies:,} studies with {budget.repeats:,} repeats are {plans:,} label plans"
        document.report(key, message, f"at most {MOST_PLANS:,} are made")
    elif rows > MOST_ROWS:
        document.report(("budget", "trials"), f"this makes {rows:,} trials", f"at most {MOST_ROWS:,} in a sweep")


def report_combination(document: Document, entry: MethodEntry, error: Any) -> None:
    """Report what a method's own validator refuses, although each value alone is accepted."""
    for detail in error.errors(include_url=False):
        message = str(detail.get("ctx", {}).get("error", detail["msg"]))
        document.report(("fixed",) if document.node(("fixed",)) else ("methods",), f"{entry.name}: {message}")
