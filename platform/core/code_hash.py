"""The hash of a method's code, a part of its rows' keys: a method that computes something else makes rows of its own.

It covers the module of the method and what that imports, directly and further on, from the package `methods` or from
its own package: what can change a step. Of the platform it covers `TRAINING_VERSION` alone, and
plug-in files of other kinds (model, data source, noise, selection rule) that the sweep names by path.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import platform.core.spec as spec
from platform.core.plugins import Finder
from platform.core.registry import METHODS

_FOLDERS = {"methods": METHODS.folder.parent}


def code_hash(cls: type, source: str | None = None, others: Sequence[spec.PlugIn] = ()) -> str:
    """12 hex digits. source: the text of a plug-in file, which is in no package. others: files of further kinds."""
    text = f"{spec.TRAINING_VERSION}\0{_code(cls, source)}"
    for other in sorted(others, key=lambda plug_in: plug_in.kind):
        text += f"\0\0{other.kind}\0{_code_of_text(other.source)}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def file_hash(finder: Finder[Any], name: str) -> str:
    """12 hex digits of the file of a plug-in, by name or path; "" where it has none of its own (another package's)."""
    folder = finder.folder
    places = [Path(name)] if name.endswith(".py") else [folder / f"{name}.py", folder / name / "__init__.py"]
    file = next((place for place in places if place.is_file()), None)
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file else ""


@functools.cache
def _code(cls: type, source: str | None) -> str:
    if source is not None:
        return _code_of_text(source)
    name, file = cls.__module__, Path(sys.modules[cls.__module__].__file__ or "").resolve()
    depth = name.count(".") + (file.name == "__init__.py")
    return _joined(module_sources([name], {name.partition(".")[0]: file.parents[depth]} | _FOLDERS))


@functools.cache
def _code_of_text(source: str) -> str:
    return _joined({"": source} | module_sources(imported_names(source), _FOLDERS))


def _joined(texts: Mapping[str, str]) -> str:
    return "\0".join(f"{name}\0{texts[name]}" for name in sorted(texts))


def module_sources(names: Iterable[str], folders: Mapping[str, Path]) -> dict[str, str]:
    """The texts of modules and of all that they import from the packages of `folders`, by module name.

    Imports are found by reading: those inside functions count, names computed at run time do not. folders: where each
    top-level package or module lies.
    """
    found: dict[str, str] = {}
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        file = _file(name, folders)
        if file is None or name in found:
            continue
        found[name] = file.read_text(encoding="utf-8")
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        ahead += imported_names(found[name], package)
        if parent := name.rpartition(".")[0]:
            ahead.append(parent)  # importing a module runs the packages that it is in
    return found


@functools.cache
def imported_names(text: str, package: str = "") -> tuple[str, ...]:
    """Names that a text imports, of modules and of what may be modules: `from a import b` gives a and a.b.

    package: what relative imports start from.
    """
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


def _file(name: str, folders: Mapping[str, Path]) -> Path | None:
    """The file of a module or package, or None where the name is another's, or of something inside a module."""
    folder = folders.get(name.partition(".")[0])
    if folder is None:
        return None
    path = folder / name.replace(".", "/")
    places = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((place for place in places if place.is_file()), None)
