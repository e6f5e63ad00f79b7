"""Data sources are plug-ins: one file each, found by place, by path or by the entry-point group `kurabe.sources`."""

from __future__ import annotations

from pathlib import Path

from methods.plugins import BrokenPlugin, Finder, UnknownPlugin
from platform.data.sources.base import Source

__all__ = ["BrokenSource", "Source", "UnknownSource", "finder", "get", "names"]

UnknownSource, BrokenSource = UnknownPlugin, BrokenPlugin

finder: Finder[Source] = Finder("data source", lambda: Source, __name__, Path(__file__).parent, "kurabe.sources")
names = finder.names
get = finder.get
