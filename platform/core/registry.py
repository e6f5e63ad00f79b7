"""The plug-ins of every kind, by the folder they lie in. Listing imports nothing; `get` loads one.

Rooms above ask here for a name instead of importing the room that holds the plug-ins.
"""

from __future__ import annotations

from typing import Any

from platform.core.plugins import Finder

__all__ = ["METHODS", "MODELS", "NOISE", "RULES", "SOURCES", "noise_kinds"]

METHODS: Finder[Any] = Finder("method", "methods", "kurabe.methods", "methods.base:Method", ("base", "ranges", "types"))
SOURCES: Finder[Any] = Finder(
    "data source", "platform.data.sources", "kurabe.sources", "platform.data.sources.source:Source", ("source",)
)
NOISE: Finder[Any] = Finder(
    "noise", "platform.data.noise", "kurabe.noise", "platform.data.noise.noise_model:Noise", ("noise_model",)
)
MODELS: Finder[Any] = Finder("model", "platform.models", "kurabe.models")
RULES: Finder[Any] = Finder("selection rule", "platform.training.selection", "kurabe.selection")


def noise_kinds() -> list[str]:
    """What `labels.noise` may be: the synthetic kinds, `none`, and `column:NAME`, a label column of the data."""
    return ["none", *NOISE.names(), "column:NAME"]
