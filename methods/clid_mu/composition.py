"""Hyper-parameters of a method that is built on other methods: those of each base with its name as prefix."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import create_model

from methods.base import Method
from methods.types import conditions_of

SHARED = ("model_ema",)
"""Hyper-parameters that the outer method has itself and passes on."""


def with_bases(own: type[Method.Hyper], bases: Mapping[str, type[Method]]) -> type[Method.Hyper]:
    """`own` and, for each base, its hyper-parameters as BASE_KEY with their defaults, limits, ranges, conditions and
    help. They act only where `base` is that base."""
    fields: dict[str, Any] = {}
    for base, method in bases.items():
        conditions = conditions_of(method.Hyper)
        for key, info in method.Hyper.model_fields.items():
            if key not in SHARED:
                field, extra = copy.copy(info), info.json_schema_extra
                when = [(_prefixed(base, other), values) for other, values in conditions.get(key, ())]
                both: Any = {"when": (("base", (base,)), *when)}
                field.json_schema_extra = {**(extra if isinstance(extra, dict) else {}), **both}
                field.description = f"with base {base}: {info.description}"
                fields[_prefixed(base, key)] = (info.annotation, field)
    return create_model("Hyper", __base__=own, __module__=own.__module__, **fields)


def _prefixed(base: str, key: str) -> str:
    return key if key in SHARED else f"{base}_{key}"


def base_hyper(hyper: Any, base: str, method: type[Method]) -> Any:
    """Hyper-parameters of the base out of those made by `with_bases`. Raises pydantic.ValidationError, a ValueError,
    where the base refuses them taken together."""
    values = {key: getattr(hyper, _prefixed(base, key)) for key in method.Hyper.model_fields if key not in SHARED}
    return method.Hyper(**values, **{key: getattr(hyper, key) for key in SHARED})
