"""Backbones are plug-ins: one file each with `build(image_shape, num_classes)`, found by place or by the entry-point
group `kurabe.models`; `timm:NAME` is everything else.

`names()` lists what can be written in a sweep file, `check(name)` says what is wrong with a name without building
anything, `build(...)` returns a module with `.features(x)`, `.head` and `forward(x, with_features=False)`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from platform.errors import Problem, UserError, did_you_mean

if TYPE_CHECKING:
    from platform.models.base import Backbone

GROUP = "kurabe.models"
COMMAND = "python -m platform.catalog"
_FOLDER = Path(__file__).parent
_NOT_MODELS = {"__init__", "base", "timm_models"}


def names() -> list[str]:
    """Names of the models found by place and by entry point, sorted; `timm:NAME` is not listed. Imports nothing."""
    places = {f.stem for f in _FOLDER.glob("*.py") if f.stem not in _NOT_MODELS and not f.stem.startswith("_")}
    return sorted(places | {e.name for e in importlib.metadata.entry_points(group=GROUP)})


def check(name: str) -> Problem | None:
    """What is wrong with `name`, or None. A `timm:` name imports timm (seconds); nothing is built."""
    if name.startswith("timm:"):
        from platform.models import timm_models

        return timm_models.check(name)
    if name in names():
        return None
    hint = did_you_mean(name, [*names(), "timm:NAME"], COMMAND)
    return Problem(f"no such model: '{name}'", key="model", hint=hint)


def build(name: str, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> Backbone:
    """A freshly initialised model in eager mode on the CPU: the same seed gives the same weights.

    The global random state is left as it was. Raises UserError for a name that `check` refuses, and for a model that
    does not suit images of this shape.
    """
    import torch

    problem = check(name)
    if problem is not None:
        raise UserError(problem)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
        if name.startswith("timm:"):
            from platform.models import timm_models

            return timm_models.build(name, image_shape, num_classes)
        return _builder(name)(image_shape, num_classes)


def _builder(name: str):
    if (_FOLDER / f"{name}.py").exists():
        return importlib.import_module(f"platform.models.{name}").build
    entry = next(e for e in importlib.metadata.entry_points(group=GROUP) if e.name == name)
    try:
        loaded = entry.load()
    except Exception as error:
        raise UserError(Problem(f"entry point {entry.value} of '{name}' does not load: {error}", key="model")) from error
    return getattr(loaded, "build", loaded)
