"""timm:NAME[:OPTION...]: any model of timm whose classifier is one linear layer, Vision Transformers included.

    timm:resnet18
    timm:vit_tiny_patch16_224                at 32 pixels: patch 4, 64 patches
    timm:vit_small_patch16_224:patch=2       USB's ViT for CIFAR (patch 2 at 32 pixels)
    timm:vit_tiny_patch16_224:pretrained     weights from the Hugging Face hub or its local cache

Models that fix their image size (`fixed_input_size` in timm's configuration) are built for the data's. The patch of a
model with `patchN` in its name stays N while 8 patches fit along the shorter side; else it is the largest power
of two below N that divides both sides and leaves 8 (1 where none does). `patch=P` sets it by hand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from platform.core.errors import Problem, UserError, did_you_mean
from platform.models.parts.backbone import Backbone

__all__ = ["TimmBackbone", "build", "check", "patch_for"]

PATCHES_PER_SIDE = 8


@dataclass(frozen=True)
class Name:
    """A parsed `timm:NAME[:OPTION...]`."""

    model: str
    pretrained: bool = False
    patch: int | None = None


class TimmBackbone(Backbone):
    """A timm model as a Backbone: `forward_head(pre_logits=True)` feeds its own classifier.

    The classifier lives in `head` only, so that no parameter is registered twice.
    """

    body: Any

    def __init__(self, body: Any, head: nn.Linear, name: str) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.name = name
        parts = [name for name, child in body.named_children() if next(child.parameters(), None) is not None]
        self.stages = tuple(f"body.{name}" for name in parts)

    def features(self, x: Tensor) -> Tensor:
        return self.body.forward_head(self.body.forward_features(x), pre_logits=True)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that timm exempts from weight decay (class token, position embedding)."""
        return {f"body.{name}" for name in getattr(self.body, "no_weight_decay", set)()}


def parse(name: str) -> Name | Problem:
    """Parse the name; a Problem where an option is unknown."""
    model, *options = name.removeprefix("timm:").split(":")
    settings: dict[str, Any] = {}
    for option in options:
        patch = re.fullmatch(r"patch=([1-9]\d*)", option)
        if patch:
            settings["patch"] = int(patch[1])
        elif option == "pretrained":
            settings["pretrained"] = True
        else:
            return Problem(
                f"no such option of a timm model: '{option}'",
                key="model",
                hint=did_you_mean(option, ["pretrained", "patch=4"]),
            )
    return Name(model, **settings)


@cache
def _known() -> tuple[str, ...]:
    import timm

    return tuple(timm.list_models())


def check(name: str) -> Problem | None:
    """The Problem with a `timm:` name, or None; imports timm, builds nothing."""
    parsed = parse(name)
    if isinstance(parsed, Problem):
        return parsed
    try:
        from timm.models import is_model
    except ImportError as error:
        return Problem(f"timm does not import: {error}", key="model", hint="pip install timm")
    if parsed.model and is_model(parsed.model):
        return None
    near = did_you_mean(parsed.model, _known()) if parsed.model else ""
    hint = f"did you mean: timm:{near.removeprefix('did you mean: ')}" if near.startswith("did you mean") else ""
    listing = 'python -c "import timm; print(*timm.list_models(), sep=chr(10))" lists all'
    return Problem(
        f"timm has no model '{parsed.model}'", key="model", hint=f"{hint}        ({listing})" if hint else listing
    )


def patch_for(size: tuple[int, int], own: int) -> int:
    """The patch side for images of `size` and a model made for patches of `own` pixels; see the head of the file."""
    if own * PATCHES_PER_SIDE <= min(size) and all(side % own == 0 for side in size):
        return own
    patch = 1 << (own.bit_length() - 1)
    while patch > 1 and (patch * PATCHES_PER_SIDE > min(size) or any(side % patch for side in size)):
        patch //= 2
    return patch


def build(name: str, image_shape: tuple[int, int, int], num_classes: int) -> TimmBackbone:
    """Build the model, separate its classifier and try two images. Raises UserError where the model does not suit."""
    parsed = parse(name)
    if isinstance(parsed, Problem):
        raise UserError(parsed)
    body = _create(parsed, image_shape, num_classes)
    head = body.get_classifier() if hasattr(body, "get_classifier") else None
    if not isinstance(head, nn.Linear):
        kind = type(head).__name__
        message = f"timm:{parsed.model} ends in {kind}, not in one linear layer; features and head cannot be told apart"
        raise UserError(Problem(message, key="model", hint="take another model, e.g. timm:resnet18"))
    _detach_head(body, head)
    model = TimmBackbone(body, head, name)
    _try_forward(model, image_shape, num_classes)
    return model


def _create(parsed: Name, image_shape: tuple[int, int, int], num_classes: int) -> Any:
    import timm

    channels, *size = image_shape
    wanted: dict[str, Any] = {"in_chans": channels, "num_classes": num_classes, "pretrained": parsed.pretrained}
    config = timm.get_pretrained_cfg(parsed.model)
    if config is not None and config.fixed_input_size:
        wanted["img_size"] = tuple(size)
        own = re.search(r"patch(\d+)", parsed.model)
        if parsed.patch or own:
            patch = parsed.patch or patch_for((size[0], size[1]), int(own[1]) if own else 1)
            if not own or patch != int(own[1]):
                wanted["patch_size"] = patch
    elif parsed.patch:
        raise UserError(Problem(f"timm:{parsed.model} takes no patch size", key="model", hint="drop the option patch="))
    try:
        return timm.create_model(parsed.model, **wanted)
    except Exception as error:
        raise UserError(_refused(parsed, image_shape, error)) from error


def _refused(parsed: Name, image_shape: tuple[int, int, int], error: Exception) -> Problem:
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    if parsed.pretrained:
        return Problem(
            f"the pretrained weights of timm:{parsed.model} cannot be loaded ({reason})",
            key="model",
            hint="they come from the Hugging Face hub or its local cache (HF_HOME); without network, fill the cache\n"
            "on another machine, or drop ':pretrained' to start from random weights",
        )
    shape = " x ".join(map(str, image_shape))
    return Problem(f"timm cannot build '{parsed.model}' for {shape} images ({reason})", key="model")


def _detach_head(body: nn.Module, head: nn.Linear) -> None:
    """Replace the classifier in the body by an identity: forward_head(pre_logits=True) never calls it."""
    for parent in body.modules():
        for child, module in parent.named_children():
            if module is head:
                setattr(parent, child, nn.Identity())


@torch.no_grad()
def _try_forward(model: TimmBackbone, image_shape: tuple[int, int, int], num_classes: int) -> None:
    model.eval()
    try:
        features, logits = model(torch.zeros(2, *image_shape), with_features=True)
    except Exception as error:
        raise UserError(_refused(parse(model.name), image_shape, error)) from error  # type: ignore[arg-type]
    finally:
        model.train()
    if features.shape != (2, model.head.in_features) or logits.shape != (2, num_classes):
        message = f"{model.name} gives features of shape {list(features.shape)}, expected [2, {model.head.in_features}]"
        raise UserError(Problem(message, key="model"))
