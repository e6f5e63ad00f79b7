"""Methods are plug-ins: one file each, found by place, by path or by the entry-point group `kurabe.methods`.

`names()` lists what can be written in a sweep file, `get(name)` returns the class. Listing imports nothing.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from methods.base import Method

GROUP = "kurabe.methods"
_FOLDER = Path(__file__).parent
_NOT_METHODS = {"__init__", "base", "ranges"}


class UnknownMethod(LookupError):
    """No method of that name. `near` is the closest name, or None."""

    def __init__(self, name: str) -> None:
        matches = difflib.get_close_matches(name, names(), n=1)
        self.name, self.near = name, matches[0] if matches else None
        hint = f"did you mean: {self.near}" if self.near else f"valid: {', '.join(names())}"
        super().__init__(f"no such method: '{name}'; {hint}")


class BrokenMethod(ImportError):
    """A plug-in that does not import or holds no method. `trace` is its traceback, cut to the plug-in's own lines."""

    def __init__(self, name: str, reason: str, trace: str = "") -> None:
        super().__init__(f"{name}: {reason}" + (f"\n{trace}" if trace else ""))
        self.name, self.reason, self.trace = name, reason, trace  # after: ImportError's own __init__ resets `name`


def names() -> list[str]:
    """Names of the methods found by place and by entry point, sorted."""
    places = {f.stem for f in _FOLDER.glob("*.py") if f.stem not in _NOT_METHODS and not f.stem.startswith("_")}
    return sorted(places | {e.name for e in importlib.metadata.entry_points(group=GROUP)})


def get(name: str) -> type[Method]:
    """The class of a method, by name or by path of a plug-in file (anything that ends in .py).

    Raises UnknownMethod or BrokenMethod.
    """
    if name.endswith(".py"):
        return from_file(Path(name))
    if (_FOLDER / f"{name}.py").exists() and name not in _NOT_METHODS:
        try:
            return _only_method(importlib.import_module(f"methods.{name}"), name)
        except BrokenMethod:
            raise
        except Exception as error:
            raise _broken(name, error, _FOLDER / f"{name}.py") from error
    for entry in importlib.metadata.entry_points(group=GROUP):
        if entry.name == name:
            try:
                loaded = entry.load()
            except Exception as error:
                raise BrokenMethod(name, f"entry point {entry.value} does not load: {error}") from error
            return _only_method(loaded, name) if isinstance(loaded, ModuleType) else loaded
    raise UnknownMethod(name)


def from_file(path: Path) -> type[Method]:
    """The method of a plug-in file. Its name is the file's stem. The same content is imported once."""
    if not path.is_file():
        raise BrokenMethod(str(path), "no such file")
    return from_source(path.read_text(), str(path))


def from_source(source: str, path: str) -> type[Method]:
    """As from_file, from the text: how a plug-in reaches a worker that does not have the file."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    module_name = f"methods_plugin_{Path(path).stem}_{digest}"
    if module_name not in sys.modules:
        module = ModuleType(module_name)
        module.__file__ = path
        sys.modules[module_name] = module
        try:
            exec(compile(source, path, "exec"), module.__dict__)
        except BaseException as error:
            del sys.modules[module_name]
            if not isinstance(error, (Exception, SystemExit)):
                raise
            raise _broken(path, error, Path(path)) from error
    return _only_method(sys.modules[module_name], path)


def _only_method(module: ModuleType, name: str) -> type[Method]:
    from methods.base import Method

    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        has = ", ".join(sorted(c.__name__ for c in found)) or "none"
        raise BrokenMethod(name, f"a method file holds exactly one subclass of methods.base.Method; this one: {has}")
    return found[0]


def _broken(name: str, error: BaseException, path: Path) -> BrokenMethod:
    own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == path.name]
    lines = traceback.format_list(own) + traceback.format_exception_only(error)
    return BrokenMethod(name, "does not import", "".join(lines).rstrip())
