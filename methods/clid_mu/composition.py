"""Building a method on another one: the base's hyper-parameters under its name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import create_model

from methods.base import Method

SHARED = ("model_ema",)
"""Hyper-parameters that the outer method has itself and passes on."""


def with_bases(own: type[Method.Hyper], bases: Mapping[str, type[Method]]) -> type[Method.Hyper]:
    """`own` and, for each base, its hyper-parameters as BASE_KEY with their defaults, limits, ranges and help."""
    fields: dict[str, Any] = {}
    for base, method in bases.items():
        for key, info in method.Hyper.model_fields.items():
            if key not in SHARED:
                field = copy.copy(info)
                field.description = f"with base {base}: {info.description}"
                fields[f"{base}_{key}"] = (info.annotation, field)
    return create_model("Hyper", __base__=own, __module__=own.__module__, **fields)


def base_hyper(hyper: Any, base: str, method: type[Method]) -> Any:
    """The base's own hyper-parameters out of those made by `with_bases`. Raises pydantic.ValidationError, a ValueError,
    where the base refuses them taken together."""
    values = {key: getattr(hyper, f"{base}_{key}") for key in method.Hyper.model_fields if key not in SHARED}
    return method.Hyper(**values, **{key: getattr(hyper, key) for key in SHARED})
