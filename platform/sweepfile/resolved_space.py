"""Resolves the conditions of a study's space, and finds what can never act.

A hyper-parameter has up to two conditions: the file's `when`, and the one that its method declares
(`hyper(..., when=...)`). Both have to hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from methods.ranges import Range, Value
from platform.sweepfile.error_text import show
from platform.sweepfile.space import Condition, Given, MethodEntry, Space, hyper_fields, intersect, same_value

if TYPE_CHECKING:
    from methods.base import Method
    from methods.types import Conditions


@dataclass(frozen=True)
class Exclusion:
    """The reason that a hyper-parameter cannot act: `other` has, or is drawn from, no value at which it would."""

    other: str
    state: str

    def __str__(self) -> str:
        return f"{self.other} {self.state}"


@dataclass(frozen=True)
class ResolvedSpace:
    """The space of a study: conditions on what is not searched are decided, parents come first.

    inert: of what is searched or fixed, the hyper-parameters that can never act by what their method declares.
    """

    space: Space
    notes: list[str]
    inert: dict[str, list[Exclusion]]


def with_defaults_where_inert(cls: type[Method], values: Mapping[str, Any]) -> dict[str, Any]:
    """Reset hyper-parameters that do not act to their defaults: identical trials then have identical values."""
    conditions, fields = cls.conditions(), hyper_fields(cls)

    def acts(key: str) -> bool:
        return all(same_value(values[other], valid) and acts(other) for other, valid in conditions.get(key, ()))

    return {key: value if acts(key) else fields[key].default for key, value in values.items()}


def resolve_space(entry: MethodEntry, given: Given) -> ResolvedSpace:
    """Resolve the conditions of a file (`when`) and those that the method declares.

    A parameter whose own `when` does not hold is not searched, with a note. One that can never act by the method's
    declaration is in `inert`.
    """
    space, notes = _decide_file_conditions(given)
    declared = entry.cls.conditions()
    known = {key: found.default for key, found in entry.fields().items()} | given.fixed
    inert: dict[str, list[Exclusion]] = {}
    for key in (*space, *given.fixed):
        left, against = _remaining(key, declared, space, known)
        if against:
            inert[key] = list(dict.fromkeys(against))
        elif key in space:
            space[key] = replace(space[key], when=intersect((*space[key].when, *left)))
    for key in space:
        empty = [other for other, values in intersect(_chain(space, key)) if not values]
        if key in declared and key not in inert and empty:
            inert[key] = [Exclusion(other, "has no value that all conditions allow") for other in empty]
    return ResolvedSpace(_parents_first(space), [*given.notes, *notes], inert)


def _remaining(
    key: str, declared: Conditions, space: Space, known: Mapping[str, Any]
) -> tuple[list[Condition], list[Exclusion]]:
    """The declared conditions that are left: those on searched parameters, and what excludes `key` for good.

    known: values of what is not searched.
    """
    left: list[Condition] = []
    against: list[Exclusion] = []
    for other, values in declared.get(key, ()):
        conditions_of_other, against_other = _remaining(other, declared, space, known)
        against += against_other
        if other not in space:
            left += conditions_of_other
            if not same_value(known[other], values):
                against.append(Exclusion(other, f"is {show(known[other])}"))
            continue
        range_ = space[other].range
        possible = _drawn(range_, values)
        if not possible:
            against.append(Exclusion(other, f"is drawn from {range_}"))
        elif range_.kind == "choice" and len(possible) == len(range_.arguments):
            left += [*space[other].when, *conditions_of_other]  # it holds wherever the other is searched
        else:
            left.append((other, possible))
    return left, against


def _drawn(range_: Range, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The `values` that the range can give: none of a continuous one, which gives no single value."""
    if range_.kind == "choice":
        return tuple(value for value in range_.arguments if same_value(value, values))
    return () if range_.kind in ("uniform", "log_uniform") else tuple(v for v in values if range_.contains(v))


def _chain(space: Space, key: str) -> Iterable[Condition]:
    """The conditions of `key`, and those of what they are on."""
    for other, values in space[key].when if key in space else ():
        yield other, values
        yield from _chain(space, other)


def _decide_file_conditions(given: Given) -> tuple[Space, list[str]]:
    """Decide the file's conditions on fixed parameters. Returns the space that is left, and notes."""
    space, notes = dict(given.space), []
    changed = True
    while changed:  # a dropped parameter may be the condition of another
        changed = False
        for key, entry in list(space.items()):
            verdicts = [(o, same_value(given.fixed[o], v)) for o, v in entry.when if o in given.fixed]
            lost = [o for o, holds in verdicts if not holds]
            lost += [o for o, _ in entry.when if o not in given.fixed and o not in space]
            if lost:
                del space[key]
                why = (
                    f"{lost[0]} is {show(given.fixed[lost[0]])}"
                    if lost[0] in given.fixed
                    else f"{lost[0]} is not either"
                )
                notes.append(f"{key} is not searched: {why}")
                changed = True
            elif verdicts:
                space[key] = replace(entry, when=tuple((o, v) for o, v in entry.when if o not in given.fixed))
                changed = True
    return space, notes


def _parents_first(space: Space) -> Space:
    ordered: Space = {}

    def add(key: str) -> None:
        if key not in ordered:
            for other, _ in space[key].when:
                add(other)
            ordered[key] = space[key]

    for key in space:
        add(key)
    return ordered
