"""Reads the imports of the program: its rooms, the arrows between them, circles between files, names used twice.

    python -m tests.architecture            rooms, arrows and what breaks a rule
    python -m tests.architecture PATH       the same of another checkout

A room is a folder of `platform/`, the commands directly in it and kurabe.py (`commands`), or `methods`. An arrow is an
import of one room by another, wherever it stands: inside a function and under TYPE_CHECKING, too.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

ALLOWED = {
    "methods": (),
    "core": (),
    "data": ("core", "methods"),
    "models": ("core",),
    "training": ("core", "data", "methods", "models"),
    "sweepfile": ("core", "methods", "models"),
    "search": ("core", "methods", "sweepfile"),
    "tracking": ("core",),
    "report": ("core",),
    "conformance": ("core", "data", "methods", "models", "training"),
    "dry_run": ("core", "data", "methods", "sweepfile", "training"),
    "runner": ("core", "data", "report", "search", "sweepfile", "tracking", "training"),
    "api": ("core", "report", "sweepfile", "training"),
    "commands": (
        "api",
        "conformance",
        "core",
        "dry_run",
        "methods",
        "models",
        "report",
        "runner",
        "sweepfile",
        "training",
    ),
}
"""What each room may import, from the lowest to the highest: every name stands above its line."""


@dataclass(frozen=True)
class Import:
    """One file imports another. line: where."""

    source: str
    target: str
    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.source} imports {self.target}"


@dataclass(frozen=True)
class Program:
    """The modules of a checkout by name, and their imports of each other."""

    files: dict[str, Path]
    imports: list[Import]


def read(root: Path = ROOT) -> Program:
    files = {
        _module(path.relative_to(root)): path for folder in ("platform", "methods") for path in _python(root / folder)
    }
    files |= {"kurabe": entry} if (entry := root / "kurabe.py").exists() else {}
    imports = [found for name, path in files.items() for found in _imports(name, path, root, files)]
    return Program(files, imports)


def room(module: str, files: dict[str, Path]) -> str:
    """`methods`, the folder of `platform/` that a module lies in, or `commands`."""
    first, *rest = module.split(".")
    if first == "methods":
        return first
    inside = bool(rest) and (f"{first}.{rest[0]}" not in files or files[f"{first}.{rest[0]}"].name == "__init__.py")
    return rest[0] if inside else "commands"


def arrows(program: Program) -> dict[tuple[str, str], list[Import]]:
    """Imports between rooms, by (importing room, imported room)."""
    found: dict[tuple[str, str], list[Import]] = defaultdict(list)
    for one in program.imports:
        pair = room(one.source, program.files), room(one.target, program.files)
        if pair[0] != pair[1]:
            found[pair].append(one)
    return dict(found)


def circles(program: Program) -> list[list[str]]:
    """Files that import each other, directly or through others: strongly connected components (Tarjan, 1972)."""
    targets: dict[str, list[str]] = defaultdict(list)
    for one in program.imports:
        targets[one.source].append(one.target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in targets[module]:
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            position = stack.index(module)
            component = stack[position:]
            del stack[position:]
            if len(component) > 1:
                found.append(sorted(component))

    for module in program.files:
        if module not in index:
            visit(module)
    return found


def twice(program: Program) -> dict[str, list[str]]:
    """File names and class names that occur more than once, with the places."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in program.files.values():
        if path.name not in ("__init__.py", "__main__.py"):
            places[path.name].append(str(path))
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[f"class {node.name}"].append(f"{path}:{node.lineno}")
    return {name: found for name, found in places.items() if len(found) > 1}


def _python(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _imports(name: str, path: Path, root: Path, files: dict[str, Path]) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text())):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [target if target in files else node.module for target in inner]
        for target in dict.fromkeys(targets):
            if target in files and target not in (name, "platform"):
                yield Import(name, target, path.relative_to(root), node.lineno)


def main(root: Path) -> int:
    program = read(root)
    found = arrows(program)
    rooms = sorted({room(module, program.files) for module in program.files})
    lines = sum(len(path.read_text().splitlines()) for path in program.files.values())
    print(f"{len(rooms)} rooms, {len(found)} arrows, {len(program.files)} files, {lines} lines")
    for source in rooms:
        print(f"  {source:12} -> {', '.join(sorted(target for start, target in found if start == source))}")
    for pair, imports in sorted(found.items()):
        if pair[1] not in ALLOWED.get(pair[0], ()):
            print(*(f"not allowed: {one}" for one in imports), sep="\n")
    print(*(f"circle: {', '.join(circle)}" for circle in circles(program)), sep="\n")
    print(*(f"twice: {name}: {', '.join(places)}" for name, places in twice(program).items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT))
