"""Backbones: plug-ins of one file each with `build(image_shape, num_classes)`, and the models of timm as `timm:NAME`.

Plug-ins are found by place or by the entry-point group `kurabe.models`. `check(name)` looks at a name without building
anything; `build(...)` returns a `Backbone`: `.features(x)`, `.head` and `forward(x, with_features=False)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.registry import MODELS

if TYPE_CHECKING:
    from platform.models.parts.backbone import Backbone

TIMM = "timm:"


def check(name: str) -> Problem | None:
    """The Problem with `name`, or None. A `timm:` name imports timm (seconds); nothing is built."""
    if name.startswith(TIMM):
        from platform.models.parts import timm_backbone

        return timm_backbone.check(name)
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
        return _builder(name)(image_shape, num_classes)


def _builder(name: str):
    try:
        loaded = MODELS.get(name)
    except Exception as error:
        raise UserError(Problem(f"the plug-in '{name}' does not load: {error}", key="model")) from error
    return getattr(loaded, "build", loaded)
