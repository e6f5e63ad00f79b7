"""Plug-ins: one file or folder each, found by place, by path of a `.py` file, or by entry-point group.

Methods, data sources, noise kinds, models and selection rules share this finder (platform/core/registry.py).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[2]


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name closest to `name`, or None when nothing is close."""
    lowered = {v.lower(): v for v in valid}
    matches = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[matches[0]] if matches else None


def did_you_mean(name: str, valid: Iterable[str], command: str = "") -> str:
    """Hint text: the nearest name (or the whole list when none is near) and the command that lists all."""
    valid = list(valid)
    near = nearest(name, valid)
    text = f"did you mean: {near}" if near else f"valid: {', '.join(valid)}"
    return f"{text}        ({command} lists all)" if command else text


class UnknownPlugin(LookupError):
    """A name that no plug-in has. `near` is the closest name, or None."""

    def __init__(self, what: str, name: str, valid: list[str]) -> None:
        self.name, self.near, self.valid = name, nearest(name, valid), valid
        super().__init__(f"no such {what}: '{name}'; {did_you_mean(name, valid)}")


class BrokenPlugin(ImportError):
    """A file that does not import or holds no plug-in. `trace` is its traceback, cut to the file's own lines."""

    def __init__(self, name: str, reason: str, trace: str = "") -> None:
        super().__init__(f"{name}: {reason}" + (f"\n{trace}" if trace else ""))
        self.name, self.reason, self.trace = name, reason, trace  # after: ImportError sets a `name` of its own


class Finder(Generic[T]):
    """Finds plug-ins in the folder of `package`, in files by path, and in the entry-point group `group`.

    A plug-in of the folder is a file NAME.py, or a folder NAME whose `__init__.py` holds or imports it.
    what: the word for a person. base: "module:Class" whose only subclass in a file is the plug-in (imported when a
    plug-in is loaded, so that listing costs no import of it); "" = the module itself is the plug-in. defines: what
    such a module has. other: files and folders there that are none.
    """

    def __init__(
        self,
        what: str,
        package: str,
        group: str,
        base: str = "",
        other: tuple[str, ...] = (),
        defines: tuple[str, ...] = (),
    ) -> None:
        self.what, self.package, self.group = what, package, group
        self.folder = _ROOT / package.replace(".", "/")
        self._base, self._other, self._defines = base, (*other, "parts"), defines
        self._received: dict[str, str] = {}

    def names(self) -> list[str]:
        """Names found by place and by entry point, sorted."""
        places = {f.stem for f in self.folder.glob("*.py") if self._place(f.stem)}
        places |= {f.parent.name for f in self.folder.glob("*/__init__.py") if self._place(f.parent.name)}
        return sorted(places | {e.name for e in importlib.metadata.entry_points(group=self.group)})

    def has(self, name: str) -> bool:
        """Whether `names()` has `name`. Installed packages are only searched (10 ms) for what is not in the folder."""
        return self._place(name) is not None or name in self.names()

    def _place(self, name: str) -> Path | None:
        """The file of a plug-in in the folder, or None."""
        if not name.isidentifier() or name.startswith("_") or name in self._other:
            return None
        places = (self.folder / f"{name}.py", self.folder / name / "__init__.py")
        return next((place for place in places if os.path.isfile(place)), None)

    def get(self, name: str) -> Any:
        """The class or module, by name or by path. Raises UnknownPlugin or BrokenPlugin."""
        if name in self._received:
            return self.from_source(self._received[name], name)
        if name.endswith(".py"):
            return self.from_file(Path(name))
        if (place := self._place(name)) is not None:
            try:
                return self._only(importlib.import_module(f"{self.package}.{name}"), name)
            except BrokenPlugin:
                raise
            except Exception as error:
                raise BrokenPlugin(name, "does not import", own_trace(error, place)) from error
        for entry in importlib.metadata.entry_points(group=self.group):
            if entry.name == name:
                try:
                    loaded = entry.load()
                except Exception as error:
                    raise BrokenPlugin(name, f"entry point {entry.value} does not load: {error}") from error
                return self._only(loaded, name) if isinstance(loaded, ModuleType) else loaded
        raise UnknownPlugin(self.what, name, self.names())

    def receive(self, source: str, path: str) -> None:
        """Use `source` as the text of the plug-in file `path` from now on: a worker need not have the file."""
        self._received[path] = source

    def from_file(self, path: Path) -> Any:
        """The class or module of a plug-in file; the same content is imported once."""
        if not os.path.isfile(path):  # and not Path.is_file: it raises for a name that is too long
            raise BrokenPlugin(str(path), "no such file")
        return self.from_source(path.read_text(encoding="utf-8"), str(path))

    def from_source(self, source: str, path: str) -> Any:
        """The same as from_file, from the text: a worker that does not have the file gets a plug-in so."""
        return self._only(import_text(source, path), path)

    def fits(self, module: ModuleType) -> bool:
        """Whether a module of any kind holds a plug-in of this one."""
        return bool(self._subclasses(module)) if self._base else all(hasattr(module, name) for name in self._defines)

    @property
    def form(self) -> str:
        """The definition that a file of this kind must hold, for people."""
        return f"one subclass of {self._base.replace(':', '.')}" if self._base else " and ".join(self._defines)

    def _only(self, module: ModuleType, name: str) -> Any:
        if not self._base:
            if missing := [wanted for wanted in self._defines if not hasattr(module, wanted)]:
                reason = f"a {self.what} file defines {self.form}; this one lacks {', '.join(missing)}"
                raise BrokenPlugin(name, reason)
            return module
        own = self._subclasses(module)
        if len(own) != 1:
            has = ", ".join(sorted(c.__name__ for c in own)) or "none"
            of = self._base.replace(":", ".")
            raise BrokenPlugin(name, f"a {self.what} file holds exactly one subclass of {of}; this one: {has}")
        return own[0]

    def _subclasses(self, module: ModuleType) -> list[type]:
        """Classes written in the module, or in the folder that it is, which are plug-ins of this kind."""
        module_name, _, class_name = self._base.partition(":")
        base = getattr(importlib.import_module(module_name), class_name)
        inside = (module.__name__, f"{module.__name__}.") if hasattr(module, "__path__") else (module.__name__,)
        return [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, base)
            and (value.__module__ == inside[0] or value.__module__.startswith(inside[1:]))
        ]


def import_text(source: str, path: str) -> ModuleType:
    """The module of a plug-in file's text, imported once. Raises BrokenPlugin."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    module_name = f"kurabe_plugin_{Path(path).stem}_{digest}"
    if module_name not in sys.modules:
        module = ModuleType(module_name)
        module.__file__ = path
        sys.modules[module_name] = module
        _TEXTS[module_name] = source
        try:
            exec(compile(source, path, "exec"), module.__dict__)
        except BaseException as error:
            del sys.modules[module_name]
            if not isinstance(error, (Exception, SystemExit)):
                raise
            raise BrokenPlugin(path, "does not import", own_trace(error, Path(path))) from error
    return sys.modules[module_name]


_TEXTS: dict[str, str] = {}
"""Texts of the plug-in files that were imported, by module name."""


def imported_text(plugin: type) -> str | None:
    """The text that a class of a plug-in file was imported from; None for a class of a package."""
    return _TEXTS.get(plugin.__module__)


def own_trace(error: BaseException, path: Path) -> str:
    """An error with its traceback, cut to the lines of the file at `path`."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name == path.name]
    return "".join(traceback.format_list(own) + traceback.format_exception_only(error)).rstrip()
