"""The JSON schema for editors: current, and of one mind with the loader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from platform.sweepfile import load
from platform.sweepfile.json_schema import FILE, schema, text
from platform.sweepfile.yaml_tree import read

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "search_spaces").rglob("*.yaml"))


def test_the_committed_schema_is_current() -> None:
    assert FILE.read_text() == text(), "run: python -m platform.sweepfile.json_schema --write"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    jsonschema.Draft7Validator.check_schema(schema())
    return jsonschema.Draft7Validator(json.loads(FILE.read_text()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_shipped_files_are_valid(path: Path, validator: jsonschema.Draft7Validator) -> None:
    assert list(validator.iter_errors(read(path).plain())) == []


def test_resolved_files_are_valid(validator: jsonschema.Draft7Validator) -> None:
    resolved = load(ROOT / "search_spaces" / "layermatch.yaml").resolved()
    assert list(validator.iter_errors(json.loads(json.dumps(resolved)))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"nam": "a"},
        {"name": "../a"},
        {"train": {"stepz": 1}},
        {"train": {"steps": 0}},
        {"labels": {"noise": "two words"}},
        {"seeds": {"noize": 1}},
        {"budget": {"scheduler": "ash"}},
        {"resources": {"gpu": "many"}},
        {"search": {"a": 0.5}},
        {"search": {"a": {"unifrom": [0, 1]}}},
        {"search": {"a": {"uniform": [0]}}},
        {"search": {"a": {"uniform": [0, 1], "choice": [0]}}},
        {"search": {"a": {"choice": []}}},
        {"methods": 5},
    ],
    ids=str,
)
def test_what_the_loader_refuses_an_editor_underlines(
    change: dict[str, Any], validator: jsonschema.Draft7Validator
) -> None:
    good: dict[str, Any] = {"methods": ["mixup"], "search": {"alpha": "auto"}, "train": None}
    assert list(validator.iter_errors(good)) == []
    assert list(validator.iter_errors(good | change)) != []


def test_methods_are_needed(validator: jsonschema.Draft7Validator) -> None:
    assert list(validator.iter_errors({"name": "a"})) != []
