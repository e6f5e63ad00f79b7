"""Reads `search` and `fixed`: which line sets which parameter of which method, values and ranges."""

from __future__ import annotations

from typing import Any

from methods.ranges import KINDS, Range
from platform.core.errors import did_you_mean, nearest
from platform.core.spec import TrainSettings
from platform.sweepfile.conditions import Chosen, leave_out_inert, read_conditions
from platform.sweepfile.error_text import message_and_hint, show
from platform.sweepfile.space import NOT_SEARCHED, Field, Given, MethodEntry, Space, SpaceEntry
from platform.sweepfile.yaml_tree import Document, KeyPath


def read_spaces(document: Document, entries: list[MethodEntry], methods_known: bool) -> dict[str, Given]:
    """Read `search` and `fixed` of each method. Problems are added to the document.

    methods_known: whether all methods loaded; if not, a key that fits none may belong to one that did not.
    """
    chosen = {entry.name: _choose(document, entry) for entry in entries}
    _report_unknown_keys(document, entries, methods_known)
    given = {}
    for entry in entries:
        space: Space = {}
        fixed: dict[str, Any] = {}
        for key, (section, path) in chosen[entry.name].items():
            field = entry.fields()[key]
            if section == "fixed":
                _read_fixed(document, path, key, field, fixed)
            elif (range_ := _read_range(document, path, field)) is not None:
                space[key] = SpaceEntry(range_)
        keys = {key: path for key, (section, path) in chosen[entry.name].items() if section == "search"}
        space = read_conditions(document, entry, keys, space, fixed)
        given[entry.name] = Given(space, fixed)
    return leave_out_inert(document, entries, chosen, given, methods_known)


def _choose(document: Document, entry: MethodEntry) -> Chosen:
    """Find the line that sets each parameter of a method: METHOD.HYPER before HYPER, and never two alike."""
    best: dict[str, tuple[int, str, KeyPath]] = {}
    for section in ("fixed", "search"):
        node = document.node((section,))
        for written in node.data if node and isinstance(node.data, dict) else {}:
            key = written.removeprefix(f"{entry.name}.")
            level = int(key != written)
            if key not in entry.fields() or (level and key.startswith("train.")):
                continue
            known = best.get(key)
            if known and known[0] == level and known[1] != section:
                other = document.location(known[2]).text
                document.report(
                    (section, written),
                    f"searched and also fixed ({other})",
                    f"keep one of them: {section} or {known[1]}",
                )
            elif not known or level > known[0]:
                best[key] = (level, section, (section, written))
    return {key: (section, path) for key, (_, section, path) in best.items()}


def _report_unknown_keys(document: Document, entries: list[MethodEntry], methods_known: bool) -> None:
    """Report the keys that name nothing."""
    names = [entry.name for entry in entries]
    for section in ("fixed", "search"):
        node = document.node((section,))
        for key in node.data if node and isinstance(node.data, dict) else {}:
            path = (section, key)
            owner = next((e for e in entries if key.startswith(e.name + ".")), None)
            if key.startswith("train."):
                _check_train_key(document, path, key.removeprefix("train."))
            elif owner is not None:
                hyper = key.removeprefix(owner.name + ".")
                if hyper not in owner.hyper_keys():
                    _report_unknown_hyper(document, path, hyper, [owner], f"{owner.name}.")
            elif any(key in entry.hyper_keys() for entry in entries) or not methods_known:
                continue
            elif "." in key:
                head = key.partition(".")[0]
                hint = did_you_mean(head, names) if names else ""
                document.report(path, f"'{head}' is not one of this file's methods", hint)
            else:
                _report_unknown_hyper(document, path, key, entries)


def _report_unknown_hyper(
    document: Document, path: KeyPath, key: str, entries: list[MethodEntry], prefix: str = ""
) -> None:
    valid = list(dict.fromkeys(k for entry in entries for k in entry.hyper_keys()))
    near_train = nearest(key, [*TrainSettings.model_fields])
    if not nearest(key, valid) and near_train:
        document.report(path, f"no such hyper-parameter of {_named(entries)}", f"did you mean: train.{near_train}")
        return
    command = f"python -m platform.catalog {entries[0].written}" if len(entries) == 1 else "python -m platform.catalog"
    hint = did_you_mean(key, valid, command).replace("did you mean: ", f"did you mean: {prefix}")
    document.report(path, f"no such hyper-parameter of {_named(entries)}", hint)


def _named(entries: list[MethodEntry]) -> str:
    return ", ".join(f"'{entry.name}'" for entry in entries)


def _check_train_key(document: Document, path: KeyPath, name: str) -> None:
    if name in NOT_SEARCHED:
        document.report(path, "the same for all trials of a sweep", f"set it below train:, as `{name}: VALUE`")
    elif name not in TrainSettings.model_fields:
        valid = [f for f in TrainSettings.model_fields if f not in NOT_SEARCHED]
        hint = did_you_mean(name, valid).replace("did you mean: ", "did you mean: train.")
        document.report(path, "no such training setting", hint)


def _read_fixed(document: Document, path: KeyPath, key: str, field: Field, fixed: dict[str, Any]) -> None:
    node = document.node(path)
    assert node is not None
    try:
        fixed[key] = field.value(node.plain())
    except ValueError as error:
        document.report(path, *message_and_hint(error))


def _read_range(document: Document, path: KeyPath, field: Field) -> Range | None:
    """Read the range at `path`, in the field's own types; None (and a problem) where it makes none."""
    node = document.node(path)
    assert node is not None
    if node.data == "auto":
        if field.declared is None:
            example = "{uniform: [LOW, HIGH]}, {log_uniform: [LOW, HIGH]} or {choice: [A, B]}"
            document.report(path, "declares no range of its own for `auto`", f"write one: {example}")
        return field.declared
    if not isinstance(node.data, dict):
        hint = f"a range is {{uniform: [0.1, 0.9]}} or another of {', '.join(KINDS)}, or auto"
        hint += f"\nto hold it at a value, write it below fixed: {path[-1]}: {node.data}" if _plain(node.data) else ""
        document.report(path, f"{show(node.plain())} is not a range", hint)
        return None
    kinds = [key for key in node.data if key != "when"]
    unknown = [kind for kind in kinds if kind not in KINDS]
    for kind in unknown:
        document.report((*path, kind), "no such distribution", did_you_mean(kind, KINDS))
    if unknown:
        return None
    if len(kinds) != 1:
        found = f"{len(kinds)} of them: {', '.join(kinds)}" if kinds else "none"
        document.report(path, f"takes exactly one distribution, got {found}", f"one of {', '.join(KINDS)}")
        return None
    try:
        return make_range(kinds[0], node.data[kinds[0]].plain(), field)
    except ValueError as error:
        document.report((*path, kinds[0]), *message_and_hint(error))
        return None


def make_range(kind: str, arguments: Any, field: Field) -> Range:
    """Make a range whose every end the field accepts. Raises ValueError(message, hint)."""
    form = {"choice": "[A, B, ...]"}.get(kind, "[low, high, step]" if "quantised" in kind else "[low, high]")
    if not isinstance(arguments, list):
        raise ValueError(f"takes {form}, got {show(arguments)}", "")
    range_ = Range(kind, tuple(arguments))
    if kind == "choice":
        return Range(kind, tuple(_allowed(field, value) for value in arguments))
    if not field.types & {"integer", "number"}:
        raise ValueError("draws numbers, which this parameter does not take", "use {choice: [...]}")
    if not range_.integer and "number" not in field.types:
        kinds = {
            "uniform": "int_uniform",
            "log_uniform": "int_log_uniform",
            "quantised_uniform": "quantised_int_uniform",
        }
        raise ValueError("draws fractions, this parameter takes whole numbers", f"did you mean: {kinds[kind]}")
    for end in (range_.low, range_.high):
        _allowed(field, int(end) if range_.integer else float(end))
    number = int if range_.integer else float
    return Range(kind, tuple(number(a) for a in range_.arguments))


def _allowed(field: Field, value: Any) -> Any:
    try:
        return field.value(value)
    except ValueError as error:
        message, hint = message_and_hint(error)
        raise ValueError(f"reaches values that are not allowed: {message}", hint) from None


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bool))
