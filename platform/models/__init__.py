"""Backbones: plug-ins of one file each with `build(image_shape, num_classes)`, and the models of timm as `timm:NAME`.

Plug-ins are found by place, by path or by the entry-point group `kurabe.models`. `check(name)` looks at a name without
building anything; `build(...)` returns a `Backbone`: `.features(x)`, `.head` and `forward(x, with_features=False)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.plugins import BrokenPlugin, own_trace
from platform.core.registry import MODELS

if TYPE_CHECKING:
    from platform.models.parts.backbone import Backbone

TIMM = "timm:"


def check(name: str) -> Problem | None:
    """The Problem with `name`, or None. A `timm:` name imports timm (seconds), a path its file; nothing is built."""
    if name.startswith(TIMM):
        from platform.models.parts import timm_backbone

        return timm_backbone.check(name)
    if name.endswith(".py"):
        try:
            MODELS.get(name)
        except BrokenPlugin as error:
            return Problem(f"{error.name}: {error.reason}", key="model", hint=error.trace)
        return None
    if MODELS.has(name):
        return None
    hint = did_you_mean(name, [*MODELS.names(), "timm:NAME"], "python -m platform.catalog")
    return Problem(f"no such model: '{name}'", key="model", hint=hint)


def build(name: str, image_shape: tuple[int, int, int], num_classes: int, seed: int) -> Backbone:
    """A freshly initialised model on the CPU, in training mode: the same seed gives the same weights.

    The global random state is left as it was. Raises UserError for a name that `check` refuses, and for a model that
    does not suit images of this shape.
    """
    import torch

    problem = check(name)
    if problem is not None:
        raise UserError(problem)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the GPUs
        if name.startswith(TIMM):
            from platform.models.parts import timm_backbone

            return timm_backbone.build(name, image_shape, num_classes)
        return _built(name, image_shape, num_classes)


def _built(name: str, image_shape: tuple[int, int, int], num_classes: int) -> Backbone:
    """A model of a plug-in; UserError where its file fails or gives no backbone."""
    build = _builder(name)
    if not name.endswith(".py"):
        return build(image_shape, num_classes)
    try:
        model = build(image_shape, num_classes)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(Problem(f"{name}: build() fails", key="model", hint=own_trace(error, Path(name)))) from error
    missing = [part for part in ("features", "head") if not hasattr(model, part)]
    if missing:
        text = f"{name}: build() gives a {type(model).__name__} without {' and '.join(missing)}"
        hint = "the contract: Backbone in platform/models/parts/backbone.py; try it: python -m platform.check FILE.py"
        raise UserError(Problem(text, key="model", hint=hint))
    return model


def _builder(name: str):
    try:
        loaded = MODELS.get(name)
    except Exception as error:
        raise UserError(Problem(f"the plug-in '{name}' does not load: {error}", key="model")) from error
    return getattr(loaded, "build", loaded)
