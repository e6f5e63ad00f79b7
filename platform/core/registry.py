"""The plug-ins of every kind, by the folder they lie in. Listing imports nothing; `get` loads one.

Rooms above ask here for a name instead of importing the room that holds the plug-ins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from platform.core.plugins import BrokenPlugin, Finder, import_text

__all__ = ["FINDERS", "METHODS", "MODELS", "NOISE", "RULES", "SOURCES", "finder_of", "noise_kinds"]

METHODS: Finder[Any] = Finder("method", "methods", "kurabe.methods", "methods.base:Method", ("base", "ranges", "types"))
SOURCES: Finder[Any] = Finder(
    "data source", "platform.data.sources", "kurabe.sources", "platform.data.sources.source:Source", ("source",)
)
NOISE: Finder[Any] = Finder(
    "noise", "platform.data.noise", "kurabe.noise", "platform.data.noise.noise_model:Noise", ("noise_model",)
)
MODELS: Finder[Any] = Finder("model", "platform.models", "kurabe.models", defines=("build",))
RULES: Finder[Any] = Finder(
    "selection rule",
    "platform.training.selection",
    "kurabe.selection",
    defines=("MAXIMISE", "NEEDS_TRUTH", "score"),
)

FINDERS: dict[str, Finder[Any]] = {finder.what: finder for finder in (METHODS, SOURCES, NOISE, MODELS, RULES)}
"""By kind. What a file holds is looked for in this order."""


def finder_of(path: Path) -> Finder[Any]:
    """The finder of the kind that a plug-in file holds. Raises BrokenPlugin where it does not import or holds none."""
    if not path.is_file():
        raise BrokenPlugin(str(path), "no such file")
    module = import_text(path.read_text(encoding="utf-8"), str(path))
    for finder in FINDERS.values():
        if finder.fits(module):
            return finder
    forms = "\n".join(f"{finder.what}: {finder.form}" for finder in FINDERS.values())
    raise BrokenPlugin(str(path), "holds no plug-in; it would define one of these", forms)


def noise_kinds() -> list[str]:
    """Values of `labels.noise`: the synthetic kinds, `none`, and `column:NAME`, a label column of the data."""
    return ["none", *NOISE.names(), "column:NAME"]
