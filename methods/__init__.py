"""Methods are plug-ins: one file each, found by place, by path or by the entry-point group `kurabe.methods`.

`names()` lists what can be written in a sweep file, `get(name)` returns the class (of a name, or of the path of a
plug-in file; a plug-in's name is its file's stem). Listing imports nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from methods.plugins import BrokenPlugin, Finder, UnknownPlugin

if TYPE_CHECKING:
    from methods.base import Method

__all__ = ["BrokenMethod", "UnknownMethod", "from_file", "from_source", "get", "names"]

UnknownMethod, BrokenMethod = UnknownPlugin, BrokenPlugin


def _base() -> type[Method]:
    from methods.base import Method

    return Method


_finder: Finder[Method] = Finder(
    "method",
    _base,
    __name__,
    Path(__file__).parent,
    "kurabe.methods",
    other=("base", "ranges", "parts", "plugins", "types"),
)
names, get, from_file, from_source = _finder.names, _finder.get, _finder.from_file, _finder.from_source
