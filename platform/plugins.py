"""Plug-ins found by place: one file per thing in a folder, plus what installed packages add by entry point."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from typing import Any

from platform.errors import did_you_mean, nearest


class UnknownPlugin(LookupError):
    """No plug-in of that name. `near` is the closest name, `hint` the text for a person."""

    def __init__(self, kind: str, name: str, valid: list[str]) -> None:
        self.name, self.near = name, nearest(name, valid)
        self.hint = did_you_mean(name, valid, "python -m platform.catalog")
        super().__init__(f"no such {kind}: '{name}'")


class Place:
    """A folder of plug-ins: its import name, the word for a person, the entry-point group."""

    def __init__(self, kind: str, package: str, group: str) -> None:
        self.kind, self.package, self.group = kind, package, group

    def names(self) -> list[str]:
        """Sorted; imports nothing."""
        folder = Path(__file__).parent.joinpath(*self.package.split(".")[1:])
        here = {f.stem for f in folder.glob("*.py") if not f.stem.startswith("_")}
        return sorted(here | {e.name for e in importlib.metadata.entry_points(group=self.group)})

    def load(self, name: str) -> Any:
        """The module of that name (or what its entry point names). Raises UnknownPlugin."""
        if name not in self.names():
            raise UnknownPlugin(self.kind, name, self.names())
        for entry in importlib.metadata.entry_points(group=self.group):
            if entry.name == name:
                return entry.load()
        return importlib.import_module(f"{self.package}.{name}")
