"""Texts of validation errors: what a field takes, and what is wrong with a value."""

from __future__ import annotations

import functools
import json
from typing import Any

from pydantic import BaseModel, ValidationError

from platform.core.errors import nearest

LARGE = 10_000
"""A maximum from here on guards memory and time, and is named to those only who exceed it."""


def show(value: Any) -> str:
    """A value as it is written in a sweep file, the middle of a long one left out."""
    text = _show(value)
    return text if len(text) <= 200 else f"{text[:120]} ... {text[-40:]}"


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a set of `key: value` pairs"
    if isinstance(value, (list, tuple)):
        return f"the list [{', '.join(map(show, value[:20]))}{', ...' * (len(value) > 20)}]"
    return f"'{value}'" if isinstance(value, str) else repr(value)


def expectation(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> str:
    """The values that a JSON schema of a field takes, as the end of a sentence: "a positive whole number"."""
    if "$ref" in schema:
        return expectation((definitions or {}).get(schema["$ref"].rpartition("/")[2], {"type": "object"}), definitions)
    if "anyOf" in schema:
        parts = [expectation(part, definitions) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema:
        return f"'{schema['const']}'"
    kind = schema.get("type")
    if kind in ("integer", "number"):
        return _number("whole number" if kind == "integer" else "number", schema)
    if kind == "string" and "pattern" in schema:
        return f"a name of the form {schema['pattern'].removeprefix('^').removesuffix('$')}"
    words = {"boolean": "true or false", "string": "a name", "array": "a list", "object": "a set of `key: value` pairs"}
    return words.get(str(kind), "")


def _number(noun: str, schema: dict[str, Any]) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    high = None if high is not None and high >= LARGE else high
    if low is not None and high is not None:
        return f"a {noun} from {low:g} to {high:g}"
    if above == 0 or (low == 1 and noun == "whole number"):
        noun, low, above = f"positive {noun}", None, None
    limits = [
        f"{word} {value:g}"
        for word, value in (("of at least", low), ("above", above), ("of at most", high), ("below", below))
        if value is not None
    ]
    return f"a {noun} {' and '.join(limits)}".rstrip()


def field_schema(model: type[BaseModel], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JSON schema of one field and the definitions it may refer to."""
    schema = _schema(model)
    return schema["properties"][name], schema.get("$defs", {})


@functools.cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def wrong(value: Any, schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> tuple[str, str]:
    """Message and hint for a value that a field does not take."""
    message = f"{show(value)} is not {expectation(schema, definitions)}"
    most = [part["maximum"] for part in (schema, *schema.get("anyOf", [])) if part.get("maximum", 0) >= LARGE]
    if most and isinstance(value, (int, float)) and value > max(most):
        return f"{show(value)} is more than {max(most):,.0f}, the most that is taken", ""
    hint = ""
    choices = [str(c) for part in (schema, *schema.get("anyOf", [])) for c in part.get("enum", [])]
    if isinstance(value, str) and choices and (near := nearest(value, choices)):
        hint = f"did you mean: {near}"
    elif isinstance(value, float) and value.is_integer() and "whole" in message:
        hint = f"write {int(value)}"
    elif isinstance(value, (int, float)) and schema.get("type") == "string":
        hint = f"write '{value}' with quotes if it is a name"
    return message, hint


def errors_of(model: type[BaseModel], data: dict[str, Any]) -> list[dict[str, Any]]:
    """The errors of a pydantic model for plain data, read as strictly as JSON: "4" is no number, true is no 1."""
    try:
        model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        return [dict(e) for e in error.errors(include_url=False)]
    return []


def parse(model: type[BaseModel], data: dict[str, Any]) -> Any:
    """The model of plain data, as strict as `errors_of`."""
    return model.model_validate_json(json.dumps(data), strict=True)


def field_value(model: type[BaseModel], name: str, value: Any) -> Any:
    """`value` as the field keeps it (1 becomes 1.0 in a float field). Raises ValueError(message, hint)."""
    own = [e for e in errors_of(model, {name: value}) if e["loc"][:1] == (name,)]
    if own and own[0]["type"] in ("value_error", "assertion_error"):
        raise ValueError(f"{show(value)}: {own[0]['ctx']['error']}", "")
    if own:
        message, hint = wrong(value, *field_schema(model, name))
        raise ValueError(message if message[-4:] != "not " else f"{show(value)}: {own[0]['msg']}", hint)
    try:
        return getattr(parse(model, {name: value}), name)
    except ValidationError:  # another field, or all together: judged when the whole is known
        return value


def message_and_hint(error: ValueError) -> tuple[str, str]:
    """Message and hint of a ValueError(message, hint); the hint may be missing."""
    return (str(error.args[0]), str(error.args[1]) if len(error.args) > 1 else "")
