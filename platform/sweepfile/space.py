"""The search space: parameters of a method, their ranges, and the conditions between them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from methods.ranges import Range, Value, choice, log_uniform, uniform
from platform.core.spec import TrainSettings
from platform.sweepfile.error_text import field_schema, field_value, show

if TYPE_CHECKING:
    from methods.base import Method

Condition = tuple[str, tuple[Value, ...]]
"""Another parameter, and its values at which this one acts."""

TRAIN_RANGES: dict[str, Range] = {
    "lr": log_uniform(1e-3, 0.3),
    "batch_size": choice(16, 32, 64, 128),
    "weight_decay": log_uniform(1e-5, 1e-2),
    "momentum": uniform(0.8, 0.99),
}
"""What `train.FIELD: auto` searches."""

NOT_SEARCHED = ("steps", "evaluations", "eval_batch_size", "accumulate", "diagnostics")
"""Training settings that are the same for all trials, which are compared at the same steps."""


@dataclass(frozen=True)
class MethodEntry:
    """A method of a sweep. A plug-in file comes with its text, so that workers need no copy of the file."""

    name: str
    cls: type[Method]
    plugin_source: str | None = None
    plugin_path: str | None = None

    @property
    def written(self) -> str:
        """The method's name in a sweep file: a plug-in file's is its path."""
        return self.plugin_path or self.name

    def fields(self) -> dict[str, Field]:
        """Everything that `search` and `fixed` may name for this method, by key."""
        return _train_fields() | hyper_fields(self.cls)

    def hyper_keys(self) -> list[str]:
        return list(self.cls.Hyper.model_fields)

    def acts_where(self, key: str) -> str:
        """The declared conditions of a hyper-parameter and of those it depends on: "gate_mode is sample and ..."."""
        declared = self.cls.conditions()

        def all_of(name: str) -> Iterable[Condition]:
            for other, values in declared.get(name, ()):
                yield from all_of(other)
                yield other, values

        return condition_text(intersect(all_of(key)))


@dataclass(frozen=True)
class Field:
    """One hyper-parameter or training setting, as the search sees it."""

    model: type[BaseModel]
    name: str
    default: Any
    declared: Range | None

    def value(self, written: Any) -> Any:
        """Convert a written value to the field's type. Raises ValueError(message, hint)."""
        return field_value(self.model, self.name, written)

    @property
    def types(self) -> set[str]:
        """JSON types: integer, number, string, boolean, array, null."""
        schema, _ = field_schema(self.model, self.name)
        return {part.get("type", "string") for part in (schema, *schema.get("anyOf", [])) if "anyOf" not in part}


@functools.cache
def _train_fields() -> dict[str, Field]:
    defaults = TrainSettings.model_validate({})
    return {
        f"train.{name}": Field(TrainSettings, name, getattr(defaults, name), TRAIN_RANGES.get(name))
        for name in TrainSettings.model_fields
        if name not in NOT_SEARCHED
    }


@functools.cache
def hyper_fields(cls: type[Method]) -> dict[str, Field]:
    """The hyper-parameters of a method."""
    declared = cls.search_ranges()
    return {
        name: Field(cls.Hyper, name, info.get_default(call_default_factory=True), declared.get(name))
        for name, info in cls.Hyper.model_fields.items()
    }


@dataclass(frozen=True)
class SpaceEntry:
    """A searched parameter. `when`: it exists only where each named parameter has one of the values."""

    range: Range
    when: tuple[Condition, ...] = ()

    def as_yaml(self) -> dict[str, Any]:
        conditions = {key: list(values) for key, values in self.when}
        return self.range.as_yaml() | ({"when": conditions} if conditions else {})


Space = dict[str, SpaceEntry]


@dataclass(frozen=True)
class Given:
    """The part of a file on one method's parameters; keys are relative to the method.

    notes: what the file says for several methods and is left out for this one, because it cannot act there.
    """

    space: Space
    fixed: dict[str, Any]
    notes: tuple[str, ...] = field(default=(), compare=False)


def is_active(space: Mapping[str, SpaceEntry], key: str, params: Mapping[str, Any]) -> bool:
    """Whether `key` exists beside the parameters set so far. A condition on an inactive parameter does not hold."""
    return all(
        other in params and is_active(space, other, params) and same_value(params[other], values)
        for other, values in space[key].when
    )


def same_value(value: Any, values: tuple[Value, ...]) -> bool:
    """Whether `value` is one of `values`; True is not 1."""
    return any(isinstance(v, bool) == isinstance(value, bool) and v == value for v in values)


def intersect(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """One condition for each parameter, with the values that all conditions on it allow."""
    found: dict[str, tuple[Value, ...]] = {}
    for other, values in conditions:
        found[other] = tuple(v for v in found.get(other, values) if same_value(v, values))
    return tuple(found.items())


def condition_text(conditions: Iterable[Condition]) -> str:
    """Conditions as text: "centre_mode is attract or proto and view_agreement is true"."""
    shown = ((other, [show(value).strip("'") for value in values]) for other, values in conditions)
    return " and ".join(f"{other} is {' or '.join(values)}" for other, values in shown)
