"""Loads a sweep file into a checked `Sweep`, or raises one error with all its problems in line order."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from platform.core.errors import did_you_mean
from platform.core.redaction import redact
from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings
from platform.core.uri import SecretUri
from platform.sweepfile import checks, compatibility, presets
from platform.sweepfile.checked_sweep import Sweep
from platform.sweepfile.error_text import errors_of, field_schema, parse, wrong
from platform.sweepfile.plug_in_files import read_plug_ins
from platform.sweepfile.schema import Budget, Resources, Retry, SweepFile, WatchSettings
from platform.sweepfile.search_section import read_spaces
from platform.sweepfile.yaml_tree import Document, KeyPath, Node, from_plain, read

SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataSettings,
    "labels": LabelSettings,
    "train": TrainSettings,
    "budget": Budget,
    "resources": Resources,
    "retry": Retry,
    "watch": WatchSettings,
}
MAPPINGS = (*SECTIONS, "seeds", "fixed", "search")


def load(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Sweep:
    """Load a file, with `key=value` overrides. Raises UserError with every problem found."""
    document = read(path)
    for position, override in enumerate(overrides):
        document.override(override, position)
    return _load(document, Path(path))


def load_plain(data: dict[str, Any], path: str | Path = "sweep.yaml") -> Sweep:
    """Load plain values, as `Sweep.resolved()` gives them. Raises UserError."""
    return _load(from_plain(data, str(path)), Path(path))


def _load(document: Document, path: Path) -> Sweep:
    _fill_in(document, path)
    connection = _take_secrets(document)
    presets.fill(document)
    file = _schema(document)
    entries, all_known = checks.check_methods(document, file.methods, path.parent)
    file, plug_ins = read_plug_ins(document, file, path.parent)
    given = read_spaces(document, entries, all_known)
    checks.check_names(document, file)
    checks.check_data(document, file.data)
    checks.check_labels(document, file.labels)
    checks.check_budget(document, file)
    compatibility.check_objectives(document, file)
    document.raise_problems()
    sweep = Sweep(
        path=document.file,
        name=file.name,
        methods=entries,
        data=file.data,
        labels=file.labels,
        model=file.model,
        train=file.train,
        budget=file.budget,
        select=file.select,
        resources=file.resources,
        retry=file.retry,
        watch=file.watch,
        tracking=file.tracking,
        connection=connection or SecretUri(file.tracking),
        seed=file.seed,
        seeds={str(axis): seed for axis, seed in file.seeds.items()},
        given=given,
        plug_ins=plug_ins,
        lines=document.lines(),
    )
    _check_combinations(document, sweep)
    compatibility.check_search(document, sweep)
    document.raise_problems()
    return sweep


def _fill_in(document: Document, path: Path) -> None:
    """Complete the tree: an empty section is a mapping, one method a list of one, the default name that of the file."""
    sections = document.root.data
    if "methods" in sections and isinstance(sections["methods"].data, str):
        sections["methods"].data = [Node(sections["methods"].data, sections["methods"].location)]
    for name in MAPPINGS:
        if name in sections and sections[name].data is None:
            sections[name].data = {}
    if "name" not in sections:
        sections["name"] = from_plain({"name": path.stem}, document.file).root.data["name"]


def _take_secrets(document: Document) -> SecretUri | None:
    """Leave the tracking URI in the tree without its secrets, so that nothing that is shown or written holds them.

    Returns it as it was typed. A password in another URI is a problem: what is searched or trained on is recorded.
    """
    node = document.root.data.get("tracking")
    found = SecretUri(node.data) if node is not None and isinstance(node.data, str) else None
    if node is not None and found is not None:
        node.data = found.public

    def look(node: Node, path: KeyPath) -> None:
        if isinstance(node.data, (dict, list)):
            children = node.data.items() if isinstance(node.data, dict) else enumerate(node.data)
            for key, child in children:
                look(child, (*path, key))
        elif isinstance(node.data, str) and _LOGIN.match(node.data):
            hint = "let the data source read it from the environment, or from a file of yours"
            document.report(path, f"'{redact(node.data)}' holds a password, and settings are recorded", hint)

    look(document.root, ())
    return found


_LOGIN = re.compile(r"[a-zA-Z][\w+.-]*://[^\s/:@]*:[^@]*@")


def _schema(document: Document) -> SweepFile:
    """Validate the settings. A wrong value is reported and left out, so that the rest can still be checked."""
    data = copy.deepcopy(document.plain())
    for _ in range(100):
        errors = errors_of(SweepFile, data)
        if not errors:
            break
        paths = []
        for error in errors:
            path = _existing(document, tuple(error["loc"]))
            document.report(path, *_message_and_hint(document, path, error))
            paths.append(path)
        for path in sorted(set(paths), key=lambda p: [str(part).rjust(9) for part in p], reverse=True):
            _remove(data, path)
    return parse(SweepFile, data)


def _existing(document: Document, loc: tuple[Any, ...]) -> KeyPath:
    """The part of pydantic's path that is in the file; pydantic's also names the members of unions."""
    path: KeyPath = ()
    for part in loc:
        if document.node((*path, part)) is None:
            break
        path = (*path, part)
    return path


def _remove(data: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        data = data[part]
    try:
        del data[path[-1]]
    except (KeyError, IndexError):
        pass


def _message_and_hint(document: Document, path: KeyPath, error: dict[str, Any]) -> tuple[str, str]:
    """Message and hint for one of pydantic's errors."""
    top, below = str(path[0]), [str(part) for part in path[1:]]
    section = SECTIONS.get(top) if below else None
    model, name = (section, below[0]) if section else (SweepFile, top)
    node = document.node(path)
    value = node.plain() if node else None
    if error["type"] == "extra_forbidden":
        return "no such key", did_you_mean(name, model.model_fields, "" if section else "search_spaces/schema.json")
    if (top, *below) == ("labels", "noise"):
        return checks.noise_hint(value)
    if top == "seeds" and below:
        return wrong(value, _SEED) if below[0] in AXES else ("no such axis", did_you_mean(below[0], AXES))
    if top == "methods" and below:
        return wrong(value, {"type": "string"})
    if (top, *below[:1]) == ("budget", "objectives") and len(below) > 1:
        return wrong(value, {"enum": ["score", "seconds"]})
    if top == "name" and isinstance(value, str):
        hint = "letters, digits, '.', '_' and '-', at most 64 of them, a letter or digit first"
        return f"'{value}' is no name of a folder", hint
    message, hint = wrong(value, *field_schema(model, name))
    if path == ("data",) and isinstance(value, str):
        hint = f"write data: {{source: {value}}}"
    return message, hint


_SEED = {"type": "integer", "minimum": 0}


def _check_combinations(document: Document, sweep: Sweep) -> None:
    """Check that each method accepts its values taken together; a study cannot be built where it does not."""
    for entry in sweep.methods:
        try:
            for study in sweep.studies():
                if study.method is entry:
                    study.resolve(study.start)
        except ValidationError as error:
            checks.report_combination(document, entry, error)
    document.raise_problems()
