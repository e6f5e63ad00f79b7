"""Hidden layers of a model by name, their weights and their outputs."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

FEATURES = "features"
"""The input of the head: the last hidden layer."""


def parse_layers(text: str) -> dict[str, float]:
    """Weights by layer of "features", "stage1, features" or "stage1=0.5, features=1"; a weight left out is 1.

    Raises ValueError where `text` is no such list.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (word.strip() for word in part.partition("="))
        if not name:
            raise ValueError(f"layers: {text!r} names no layer at one place; for example: stage1=0.5, {FEATURES}")
        if name in weights:
            raise ValueError(f"layers: '{name}' is listed twice")
        try:
            weights[name] = float(number) if equals else 1.0
        except ValueError:
            raise ValueError(f"layers: {number!r} is not a weight of '{name}'; for example: {name}=0.5") from None
        if not (weights[name] > 0 and math.isfinite(weights[name])):
            raise ValueError(f"layers: the weight of '{name}' must be above 0, got {number}")
    return weights


def check_layers(model: nn.Module, weights: Mapping[str, float]) -> None:
    """Raise ValueError, with the nearest name, where the model has no stage of a name."""
    valid = [FEATURES, *getattr(model, "stages", ())]
    for name in weights:
        if name not in valid:
            near = difflib.get_close_matches(name, valid, n=1)
            hint = f"did you mean: {near[0]}" if near else f"this model has: {', '.join(valid)}"
            raise ValueError(f"layers: no such layer: '{name}'; {hint}")


@contextlib.contextmanager
def stage_outputs(model: nn.Module, names: list[str]) -> Iterator[dict[str, Tensor]]:
    """Collect each named stage's output of the last forward inside, constant and pooled to [N, D], by name."""
    found: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            found[name] = pooled(output.detach())

        return hook

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names if name != FEATURES]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def pooled(output: Tensor) -> Tensor:
    """Mean [N, D] over the pixels of [N, D, H, W], or over the tokens of [N, T, D]."""
    if output.ndim == 4:
        return output.mean(dim=(2, 3))
    return output.mean(dim=1) if output.ndim == 3 else output.flatten(1)
