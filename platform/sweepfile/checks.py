"""What the schema cannot say: names that must exist, settings that need or exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from platform.core.errors import Problem, did_you_mean
from platform.core.plugins import BrokenPlugin, UnknownPlugin
from platform.core.registry import METHODS, RULES, SOURCES, noise_kinds
from platform.core.spec import DataSettings, LabelSettings
from platform.sweepfile.checked_sweep import FRESH
from platform.sweepfile.error_text import errors_of, field_schema, show, wrong
from platform.sweepfile.schema import SweepFile
from platform.sweepfile.space import MethodEntry
from platform.sweepfile.yaml_tree import Document

CATALOG = "python -m platform.catalog"


def check_methods(document: Document, written: Sequence[str], folder: Path) -> tuple[list[MethodEntry], bool]:
    """The methods that load, and whether all did."""
    if not written and not document.bad("methods"):
        hint = f"methods: [fixmatch]        ({CATALOG} lists all)"
        document.problem(("methods",), "names no method", hint)
    entries: list[MethodEntry] = []
    for position, name in enumerate(written):
        path = ("methods", position)
        entry = _method(document, path, name, folder)
        if entry is None:
            continue
        if entry.name in (e.name for e in entries):
            document.problem(path, f"'{entry.name}' is listed twice")
        elif entry.name == "train":
            document.problem(
                path, "a method cannot be called 'train'", "rename the file: train.KEY is a training setting"
            )
        else:
            entries.append(entry)
    return entries, len(entries) == len(written) and bool(written)


def _method(document: Document, path: tuple[str | int, ...], name: str, folder: Path) -> MethodEntry | None:
    try:
        if not name.endswith(".py"):
            return MethodEntry(name, METHODS.get(name))
        file = (
            folder / name if (folder / name).is_file() else Path(name)
        )  # beside the sweep file, else where one stands
        cls = METHODS.from_file(file)
        return MethodEntry(file.stem, cls, file.read_text(), _shown(file))
    except UnknownPlugin:
        document.problem(path, f"no such method: '{name}'", did_you_mean(name, METHODS.names(), CATALOG))
    except BrokenPlugin as error:
        hint = error.trace
        if error.reason == "no such file":
            hint = f"looked for {folder / name} and {Path(name).absolute()}"
        document.problem(path, f"{name}: {error.reason}", hint)
    return None


def _shown(file: Path) -> str:
    """The path as a resolved file names it: from the current folder where it lies below, so that it can be moved."""
    absolute = file.absolute()
    try:
        return "./" + str(absolute.relative_to(Path.cwd()))
    except ValueError:
        return str(absolute)


def check_names(document: Document, file: SweepFile) -> None:
    """Model, selection rule and tracking URI."""
    import platform.models as models
    from platform.core import uri

    problem = None if document.bad("model") else models.check(file.model)
    if problem:
        document.problem(("model",), problem.message, problem.hint)
    if not document.bad("select") and file.select not in RULES.names():
        hint = did_you_mean(file.select, RULES.names(), CATALOG)
        document.problem(("select",), f"no such selection rule: '{file.select}'", hint)
    problem = None if document.bad("tracking") or file.tracking == "none" else uri.problem(file.tracking)
    if problem:
        document.problem(("tracking",), problem.message, problem.hint)


def check_data(document: Document, data: DataSettings) -> None:
    """The source's name, and its own options against its own model; a rate of open-set noise without its classes."""
    if data.open_set_rate is not None and not data.open_set and not document.bad("data", "open_set"):
        document.problem(
            ("data", "open_set_rate"), "no class is of no class here", "add to data: open_set: [NAME, ...]"
        )
    if document.bad("data", "source"):
        return
    try:
        source = SOURCES.get(data.source)
    except LookupError:
        hint = did_you_mean(data.source, SOURCES.names(), CATALOG)
        document.problem(("data", "source"), f"no such data source: '{data.source}'", hint)
        return
    except BrokenPlugin as error:
        document.problem(("data", "source"), f"{error.name}: {error.reason}", error.trace)
        return
    own = [name for name in DataSettings.model_fields if name not in source.Options.model_fields]
    for error in errors_of(source.Options, data.options):
        name = str(error["loc"][0]) if error["loc"] else ""
        if error["type"] == "extra_forbidden":
            valid = [*source.Options.model_fields, *own]
            hint = did_you_mean(name, valid, f"{CATALOG} {data.source}")
            document.problem(("data", name), f"no such option of source '{data.source}'", hint)
        elif error["type"] == "missing":
            help_ = source.Options.model_fields[name].description or ""
            document.problem(("data", name), f"missing; source '{data.source}' needs it", f"{name}: {help_}")
        else:
            document.problem(("data", name) if name else ("data",), *_words(source.Options, name, error))


def _words(model: type[BaseModel], name: str, error: dict[str, Any]) -> tuple[str, str]:
    if not name or error["type"] in ("value_error", "assertion_error"):
        return str(error.get("ctx", {}).get("error", error["msg"])), ""
    return wrong(error["input"], *field_schema(model, name))


def check_labels(document: Document, labels: LabelSettings) -> None:
    """Counts that exclude each other, noise that needs a rate or has none."""
    where = document.node(("labels",))
    written = where.data if where is not None and isinstance(where.data, dict) else {}
    if labels.per_class is not None and labels.total is not None:
        document.problem(("labels", "total"), "excludes per_class; keep one of the two")
    if labels.val >= 1 and labels.val != int(labels.val):
        message = f"{show(labels.val)} is neither a part below 1 nor a whole number of images"
        document.problem(("labels", "val"), message)
    if document.bad("labels", "noise") or document.bad("labels", "rate"):
        return
    drawn = labels.noise != "none" and not labels.noise.startswith("column:")
    if drawn and not labels.noise.endswith(".py") and labels.noise not in noise_kinds():
        document.problem(("labels", "noise"), *noise_hint(labels.noise))
        return
    _check_group(document, labels, drawn, written)
    if drawn and labels.rate == 0 and labels.group_rate == 0:
        place = ("labels", "rate") if "rate" in written else ("labels", "noise")
        document.problem(place, f"{labels.noise} noise needs a rate above 0", "add to labels: rate: 0.4")
    if not drawn and labels.rate > 0:
        hint = f"noise with a rate: {', '.join(k for k in noise_kinds() if k not in ('none', 'column:NAME'))}"
        document.problem(("labels", "rate"), f"noise '{labels.noise}' takes no rate", hint)


def _check_group(document: Document, labels: LabelSettings, drawn: bool, written: dict[str, Any]) -> None:
    """A group needs noise that is drawn, and a rate inside needs a group."""
    if document.bad("labels", "group") or document.bad("labels", "group_rate"):
        return
    if labels.group is not None and not drawn:
        document.problem(("labels", "group"), f"noise '{labels.noise}' has no rate that a group could change")
    if labels.group is None and "group_rate" in written and labels.group_rate > 0:
        document.problem(("labels", "group_rate"), "no group has this rate", "add to labels: group: COLUMN=VALUE")
    if labels.group is not None and "group_rate" not in written:
        document.problem(("labels", "group"), "the group has no rate", "add to labels: group_rate: 0.4")


def noise_hint(value: Any) -> tuple[str, str]:
    """What is wrong with a noise that does not match the pattern."""
    kinds = noise_kinds()
    if isinstance(value, str) and value.strip() in ("column", "column:"):
        return "column: needs the NAME of a label column", "for example column:worse_label"
    if isinstance(value, str):
        return f"no such noise: '{value}'", did_you_mean(value, kinds, CATALOG)
    return f"{show(value)} is not a kind of noise", f"valid: {', '.join(kinds)}"


def check_budget(document: Document, file: SweepFile) -> None:
    """A budget that cannot be spent as written. More evaluations than steps mean one after each step."""
    if document.bad("train") or document.bad("budget"):
        return
    train, budget = file.train, file.budget
    if budget.trials is None and budget.seconds is None:
        document.problem(("budget", "trials"), "no number, and no seconds either", "write trials: 16, or seconds: 3600")
    if budget.repeats and not document.bad("seeds") and set(FRESH) <= set(file.seeds):
        hint = f"leave one of {', '.join(FRESH)} out of seeds, or write repeats: 0"
        document.problem(("budget", "repeats"), "seeds pins every axis: all repeats would be one trial", hint)
    if budget.scheduler == "asha" and document.node(("budget", "grace")) and budget.grace >= train.evaluations:
        message = f"a grace of {budget.grace} leaves ASHA nothing to judge: a trial has {train.evaluations} evaluations"
        document.problem(("budget", "grace"), message, "lower it, or write scheduler: none")
    if train.warmup >= train.steps and train.warmup:
        document.problem(("train", "warmup"), f"{train.warmup} steps of warm-up leave none of {train.steps} steps")


def taken_together(document: Document, entry: MethodEntry, error: Any) -> None:
    """A method's own objection to values that are fine one by one."""
    for detail in error.errors(include_url=False):
        problem = Problem(str(detail.get("ctx", {}).get("error", detail["msg"])))
        document.problem(("fixed",) if document.node(("fixed",)) else ("methods",), f"{entry.name}: {problem.message}")
