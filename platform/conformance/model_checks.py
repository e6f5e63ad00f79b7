"""Checks of a model: features and a linear head, on images of several sizes; and that it trains."""

from __future__ import annotations

import inspect

import torch
from torch import nn

from platform.conformance.suite import Failed, Skipped, Subject, check
from platform.conformance.trial_checks import trial
from platform.core.errors import UserError
from platform.core.registry import METHODS
from platform.models import build

KIND = "model"
SHAPES = {(1, 8, 8): 4, (3, 32, 32): 10}
"""Images that it is built for, and the number of classes."""

TRAINED = (1, 8, 8)


def _models(subject: Subject) -> dict[tuple[int, int, int], nn.Module]:
    """The built models by shape of the images, without the shapes that it refuses in words."""
    found, refused = {}, []
    for shape, classes in SHAPES.items():
        try:
            found[shape] = build(subject.name, shape, classes, 1)
        except UserError as error:
            refused.append(error)
    if not found:
        problem = refused[0].problems[0]
        raise Failed(problem.message, problem.hint or "build(image_shape, num_classes) returns a Backbone")
    return found


@check("its file says what the network is", kind=KIND)
def docs(subject: Subject) -> str | None:
    if not (inspect.getdoc(subject.cls) or ""):
        raise Failed("the file has no docstring", '"""my_model: what it is, for which images, whose (Name, year)."""')
    return None


@check("features(x) is [N, D], head a linear layer on it, forward(x) gives logits, or both", kind=KIND)
def parts(subject: Subject) -> str | None:
    said = []
    for shape, model in _models(subject).items():
        x, classes = torch.zeros(4, *shape), SHAPES[shape]
        head, features = model.head, model.features(x)  # type: ignore[operator]
        if not isinstance(head, nn.Linear) or features.shape != (4, head.in_features):
            advice = "head: nn.Linear(D, num_classes); features: [N, D] of the same D"
            raise Failed(f"on {list(shape)}: features {list(features.shape)}, head {head}", advice)
        logits = model(x)
        if logits.shape != (4, classes):
            advice = "the head has num_classes outputs"
            raise Failed(f"on {list(shape)}: logits {list(logits.shape)}, not [4, {classes}]", advice)
        pair = model(x, with_features=True)
        if not (isinstance(pair, tuple) and [t.shape for t in pair] == [features.shape, logits.shape]):
            raise Failed(
                "forward(x, with_features=True) gives no pair (features, logits)", "derive the class from Backbone"
            )
        modules = dict(model.named_modules())
        if missing := [name for name in getattr(model, "stages", ()) if name not in modules]:
            raise Failed(
                f"stages names what is no sub-module: {missing[0]}", f"it has: {', '.join(list(modules)[1:9])}"
            )
        said.append(f"{' x '.join(map(str, shape))}: D = {head.in_features}")
    return "; ".join(said)


@check("the same seed gives the same weights, another seed others", kind=KIND)
def seeds(subject: Subject) -> str | None:
    shape = next(iter(_models(subject)))
    first, again, other = (build(subject.name, shape, SHAPES[shape], seed).state_dict() for seed in (1, 1, 2))
    if any(not torch.equal(first[name], again[name]) for name in first):
        raise Failed(
            "two models of one seed differ", "draw weights with torch's initialisers, from no generator of your own"
        )
    if all(torch.equal(first[name], other[name]) for name in first):
        raise Failed("models of two seeds are equal", "initialise the weights at random")
    return None


@check("a gradient reaches every weight", kind=KIND)
def gradients(subject: Subject) -> str | None:
    shape, model = next(iter(_models(subject).items()))
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(0))
    model(x).square().sum().backward()
    if silent := [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None]:
        raise Failed(
            f"weights without a gradient: {', '.join(silent[:5])}", "leave out layers that forward() does not use"
        )
    return f"{sum(weight.numel() for weight in model.parameters()):,} weights"


@check("a trial trains it", quick=False, kind=KIND)
def trains(subject: Subject) -> str | None:
    if TRAINED not in _models(subject):
        raise Skipped(f"it is not for images of {' x '.join(map(str, TRAINED))}, on which it would be trained here")
    supervised = Subject("supervised", METHODS.get("supervised"), subject.file)
    try:
        reports = list(trial(supervised, model=subject.name).reports())
    except UserError as error:
        raise Failed(str(error), "a sweep with this model would end with these words") from error
    if reports[-1].outcome != "completed":
        raise Failed(f"the trial ends as '{reports[-1].outcome}'", "are the weights initialised to a sensible size?")
    return None
