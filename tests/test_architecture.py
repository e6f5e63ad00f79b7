"""The program's structure: imports go down, no circles, every name once, every file of platform/ a command."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import architecture

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


@pytest.fixture(scope="module")
def program() -> architecture.Program:
    return architecture.read(ROOT)


def test_the_table_of_rooms_goes_down() -> None:
    seen: set[str] = set()
    for name, below in architecture.ALLOWED.items():
        assert set(below) <= seen, f"{name} may import {set(below) - seen}, which stands below it in the table"
        seen.add(name)


def test_every_import_between_rooms_is_in_the_table(program: architecture.Program) -> None:
    rooms = {architecture.room(module, program.files) for module in program.files}
    assert rooms == set(architecture.ALLOWED)
    wrong = [
        str(one)
        for (source, target), imports in architecture.arrows(program).items()
        for one in imports
        if target not in architecture.ALLOWED[source]
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_table_names_no_arrow_that_nothing_uses(program: architecture.Program) -> None:
    allowed = {(source, target) for source, below in architecture.ALLOWED.items() for target in below}
    assert allowed == set(architecture.arrows(program))


def test_no_files_import_each_other_in_a_circle(program: architecture.Program) -> None:
    assert architecture.circles(program) == []


def test_no_name_of_a_file_or_class_occurs_twice(program: architecture.Program) -> None:
    assert architecture.twice(program) == {}


def test_every_file_directly_in_platform_is_a_command() -> None:
    for path in (ROOT / "platform").glob("*.py"):
        if path.name != "__init__.py":
            assert 'if __name__ == "__main__":' in path.read_text() or path.name == "__main__.py", path


def test_files_and_functions_are_short(program: architecture.Program) -> None:
    long = [
        f"{path}: {n} lines" for path in program.files.values() if (n := path.read_text().count("\n")) > LONGEST_FILE
    ]
    for path in program.files.values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    long.append(f"{path}:{node.lineno}: {node.name} has {length} lines")
    assert not long, "\n" + "\n".join(long)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"platform/core/a.py": "import platform.data.b", "platform/data/b.py": ""}, "platform/core/a.py:1"),
        ({"platform/core/a.py": "def f():\n    from platform.data import b", "platform/data/b.py": ""}, "a.py:2"),
    ],
)
def test_an_import_that_goes_up_is_found_with_its_line(tmp_path: Path, files: dict[str, str], words: str) -> None:
    for name in ("platform", "platform/core", "platform/data", "methods"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")
    (found,) = architecture.arrows(architecture.read(tmp_path))["core", "data"]
    assert words in str(found)


def test_a_circle_under_type_checking_is_found(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    head = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
    (tmp_path / "methods" / "a.py").write_text(head + "from methods.b import B\n")
    (tmp_path / "methods" / "b.py").write_text("from methods import a\n")
    assert architecture.circles(architecture.read(tmp_path)) == [["methods.a", "methods.b"]]
