"""Conditions of a sweep file: `when`, and what cannot act by the conditions that its method declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from methods.ranges import Range, Value
from platform.core.errors import did_you_mean
from platform.sweepfile.error_text import message_and_hint, show
from platform.sweepfile.resolved_space import Exclusion, resolve_space
from platform.sweepfile.space import Given, MethodEntry, Space
from platform.sweepfile.yaml_tree import Document, KeyPath

if TYPE_CHECKING:
    from methods.types import Conditions

Chosen = dict[str, tuple[str, KeyPath]]
"""By parameter of a method: the section (search or fixed) and the line that sets it."""


def read_conditions(
    document: Document, entry: MethodEntry, keys: dict[str, KeyPath], space: Space, fixed: dict[str, Any]
) -> Space:
    """Read `when:` of every searched parameter of a method; circles are problems."""
    result: Space = {}
    for key, searched in space.items():
        path = (*keys[key], "when")
        node = document.node(path)
        conditions = []
        if node is not None and not isinstance(node.data, dict):
            document.report(path, f"{show(node.plain())} is not a condition", "when: {OTHER: value} or {OTHER: [a, b]}")
        elif node is not None:
            for other in node.data:
                condition = _read_condition(document, entry, (*path, other), keys, space, fixed)
                conditions += [condition] if condition else []
        result[key] = replace(searched, when=tuple(conditions))
    for key in result:
        circle = _circle(result, entry.cls.conditions(), key) if result[key].when else []
        if circle:
            document.report((*keys[key], "when"), f"conditions in a circle: {' -> '.join(circle)}")
            result[key] = replace(result[key], when=())
    return result


def _read_condition(
    document: Document,
    entry: MethodEntry,
    path: KeyPath,
    keys: dict[str, KeyPath],
    space: Space,
    fixed: dict[str, Any],
) -> tuple[str, tuple[Value, ...]] | None:
    written = str(path[-1])
    other = written.removeprefix(f"{entry.name}.")
    fields = entry.fields()
    if other not in fields:
        hint = did_you_mean(other, [*keys, *fixed] or entry.hyper_keys())
        document.report(path, f"no such parameter of '{entry.name}'", hint)
        return None
    if other not in keys and other not in fixed:
        if not document.has_problem("fixed", other) and not document.has_problem("fixed", f"{entry.name}.{other}"):
            hint = f"search it too, or hold it below fixed:        (searched: {', '.join(keys)})"
            document.report(path, f"a condition on '{other}', which is neither searched nor fixed", hint)
        return None
    node = document.node(path)
    assert node is not None
    plain = node.plain()
    values = []
    for value in plain if isinstance(plain, list) else [plain]:
        try:
            values.append(fields[other].value(value))
        except ValueError as error:
            document.report(path, *message_and_hint(error))
            return None
    if not values:
        document.report(path, "lists no value, so it never holds")
        return None
    if other in space and not _reachable(document, path, space[other].range, values):
        return None
    return (other, tuple(values))


def _reachable(document: Document, path: KeyPath, range_: Range, values: list[Any]) -> bool:
    if range_.kind in ("uniform", "log_uniform"):
        document.report(path, f"drawn from {range_}, so it is never exactly {show(values[0])}", "use a choice there")
        return False
    missed = [value for value in values if not range_.contains(value)]
    if missed:
        document.report(path, f"never {show(missed[0])}: it is drawn from {range_}")
    return not missed


def _circle(space: Space, declared: Conditions, start: str) -> list[str]:
    """Find a path from `start` back to itself along the file's and the declared conditions; [] = there is none."""

    def follow(key: str, path: list[str]) -> list[str]:
        for other in _depends_on(space, declared, key):
            if other == start:
                return [*path, start]
            if other not in path and (found := follow(other, [*path, other])):
                return found
        return []

    return follow(start, [start])


def _depends_on(space: Space, declared: Conditions, key: str) -> list[str]:
    written = space[key].when if key in space else ()
    return [other for other, _ in (*written, *declared.get(key, ()))]


# -- what cannot act ---------------------------------------------------------------------------------------------------


def leave_out_inert(
    document: Document,
    entries: list[MethodEntry],
    chosen: Mapping[str, Chosen],
    given: dict[str, Given],
    methods_known: bool,
) -> dict[str, Given]:
    """Find what is searched or fixed and can never act, by what its method declares.

    A key that acts in none of the methods it is for is a problem, also where it is fixed at its default: the line says
    something that does not hold. A key without METHOD. that acts in some is left out for the others, with a note.
    """
    acts: set[KeyPath] = set()
    inert: dict[KeyPath, dict[str, tuple[str, list[Exclusion]]]] = {}
    for entry in entries:
        resolved = resolve_space(entry, given[entry.name])
        for key, (_, path) in chosen[entry.name].items():
            if key in resolved.inert and _is_readable(document, entry, chosen[entry.name], given[entry.name], key):
                inert.setdefault(path, {})[entry.name] = (key, resolved.inert[key])
            else:
                acts.add(path)
    result = dict(given)
    for path, where in inert.items():
        concerned = [entry for entry in entries if entry.name in where]
        if path not in acts and (methods_known or path[1] not in {key for key, _ in where.values()}):
            _report_inert(document, path, concerned, chosen, where)
            continue
        for entry in concerned:
            result[entry.name] = _without(result[entry.name], *where[entry.name])
    return result


def _is_readable(document: Document, entry: MethodEntry, chosen: Chosen, given: Given, key: str) -> bool:
    """Whether `key` and all that its conditions depend on were read without a problem."""
    declared, ahead, seen = entry.cls.conditions(), [key], set[str]()
    while ahead:
        name = ahead.pop()
        if name in chosen and document.has_problem(*chosen[name][1]):
            return False
        seen.add(name)
        ahead += [other for other in _depends_on(given.space, declared, name) if other not in seen]
    return True


def _report_inert(
    document: Document,
    path: KeyPath,
    concerned: list[MethodEntry],
    chosen: Mapping[str, Chosen],
    where: Mapping[str, tuple[str, list[Exclusion]]],
) -> None:
    """Report a key that acts nowhere: what excludes it, the line of that, and what would make the key act."""
    reasons, advice = [], []
    for entry in concerned:
        key, exclusions = where[entry.name]
        prefix = f"{entry.name}: " if len(concerned) > 1 else ""
        texts = [f"{why} ({_place(document, chosen[entry.name], why.other)})" for why in exclusions]
        reasons.append(prefix + ", ".join(texts))
        command = f"python -m platform.catalog {entry.written}"
        advice.append(f"{prefix}it acts where {entry.acts_where(key)}        ({command})")
    document.report(path, f"can never act in this sweep: {'; '.join(reasons)}", "\n".join(advice))


def _place(document: Document, chosen: Chosen, key: str) -> str:
    return document.location(chosen[key][1]).text if key in chosen else "its default"


def _without(given: Given, key: str, exclusions: list[Exclusion]) -> Given:
    what = "is not searched" if key in given.space else "is left at its default"
    note = f"{key} {what}, it cannot act: {', '.join(map(str, exclusions))}"
    return Given(
        {name: entry for name, entry in given.space.items() if name != key},
        {name: value for name, value in given.fixed.items() if name != key},
        (*given.notes, note),
    )
