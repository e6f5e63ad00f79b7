"""The JSON schema of sweep files, for editors: completion, help and marked errors while one is written.

    python -m platform.sweepfile.json_schema --write

writes search_spaces/schema.json, which every shipped sweep file names in its second line. It knows the form of a file;
names (methods, sources, their options) are looked up by `load` alone, so that a new plug-in changes no schema.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from methods.ranges import KINDS
from platform.core.spec import AXES
from platform.sweepfile.loading import MAPPINGS
from platform.sweepfile.schema import SweepFile

FILE = Path(__file__).parents[2] / "search_spaces" / "schema.json"
MODELINE = "# yaml-language-server: $schema="


def schema() -> dict[str, Any]:
    """The schema as plain data."""
    found = SweepFile.model_json_schema()
    properties = found["properties"]
    properties["search"] |= {"additionalProperties": _range()}
    properties["fixed"] |= {"additionalProperties": {"type": ["number", "string", "boolean", "null", "array"]}}
    several = {key: properties["methods"].pop(key) for key in ("type", "items")}
    properties["methods"]["anyOf"] = [several, {"type": "string"}]
    properties["seeds"]["propertyNames"] = {"enum": list(AXES)}
    for name, part in properties.items():
        if "default" in part and isinstance(part["default"], dict):
            del part["default"]  # every key of a section has its own
        if name in MAPPINGS:
            _nullable(part)
    found["required"] = ["methods"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **found,
        "title": "kurabe sweep file",
        "description": "python -m platform.sweep FILE.yaml; names: python -m platform.catalog",
    }


def _range() -> dict[str, Any]:
    """`auto`, or one distribution and at most one `when`."""
    number = {"type": "number"}
    kinds = {}
    for kind in KINDS:
        count = 3 if kind.startswith("quantised") else 2
        kinds[kind] = {"type": "array", "items": number, "minItems": count, "maxItems": count}
    kinds["choice"] = {"type": "array", "minItems": 1}
    condition = {"type": "object", "description": "searched only where each OTHER has the value, or one of the values"}
    forms: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {kind: form, "when": condition},
            "required": [kind],
            "additionalProperties": False,
        }
        for kind, form in kinds.items()
    ]
    auto = {"const": "auto", "description": "the range that the method declares"}
    return {"anyOf": [auto, *forms]}


def _nullable(part: dict[str, Any]) -> None:
    """Allow a section with nothing below it: it is empty, not wrong."""
    if "$ref" in part:
        part["anyOf"] = [{"$ref": part.pop("$ref")}, {"type": "null"}]
    else:
        part["type"] = [part["type"], "null"]


def text() -> str:
    return json.dumps(schema(), indent=2) + "\n"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m platform.sweepfile.json_schema", description="JSON schema for editors"
    )
    parser.add_argument("--write", action="store_true", help=f"write {FILE.name} instead of printing it")
    if parser.parse_args(argv).write:
        FILE.write_text(text())
    else:
        print(text(), end="")


if __name__ == "__main__":
    main()
