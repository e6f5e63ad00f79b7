"""Types of a method's contract: batches, views, losses, hyper-parameters, what a trial gives to its method.

These types lie below `methods/base.py` and `methods/parts/`, so that parts can use them without knowing the base class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin

import torch
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from methods.ranges import Range, Value

__all__ = [
    "Batch",
    "Conditions",
    "LabelledImages",
    "LabelledLoss",
    "Setup",
    "Stream",
    "Terms",
    "Views",
    "check_conditions",
    "conditions_of",
    "hyper",
]

LabelledLoss = Callable[[Tensor, Tensor], Tensor]
"""Scalar loss of logits [B, K] against classes [B] or soft targets [B, K]."""

Conditions = dict[str, tuple[tuple[str, tuple[Value, ...]], ...]]
"""By hyper-parameter: the others it depends on, each with the values at which it acts. All of them have to hold."""


def hyper(
    default: Any,
    *,
    search: Range | None = None,
    help: str,
    when: Mapping[str, Value | tuple[Value, ...]] | None = None,
    **limits: Any,
) -> Any:
    """Declare a hyper-parameter: its default, the range `auto` searches, its help and pydantic limits (`ge=`, `lt=`).

    when: the hyper-parameter acts only where each named hyper-parameter of the same method has the value, or one of the
    values of a tuple. Conditions chain: where what it depends on does not act, it does not act either.
    """
    extra: dict[str, Any] = {"search": search}
    if when:
        extra["when"] = tuple((name, v if isinstance(v, tuple) else (v,)) for name, v in when.items())
    return Field(default, description=help, json_schema_extra=extra, **limits)


def conditions_of(hyper: type[BaseModel]) -> Conditions:
    """Conditions (`when`) of each hyper-parameter that declares one."""
    found = {}
    for name, info in hyper.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and "when" in extra:
            found[name] = extra["when"]
    return found


def check_conditions(hyper: type[BaseModel]) -> None:
    """Raise ValueError where a `when` names no hyper-parameter, a value that it does not take, or closes a circle."""
    conditions, fields = conditions_of(hyper), hyper.model_fields
    for name, condition in conditions.items():
        for other, values in condition:
            if other not in fields:
                raise ValueError(f"{name}: when: no such hyper-parameter: '{other}'; valid: {', '.join(fields)}")
            for value in values:
                if not _takes(fields[other].annotation, fields[other].metadata, value):
                    raise ValueError(f"{name}: when: {other} cannot be {value!r}")
    for name in conditions:
        path, ahead = set(), [name]
        while ahead:
            here = ahead.pop()
            ahead += [other for other, _ in conditions.get(here, ()) if other not in path]
            path |= {other for other, _ in conditions.get(here, ())}
        if name in path:
            raise ValueError(f"{name}: when: a circle: it depends on itself, through {', '.join(sorted(path))}")


def _takes(annotation: Any, metadata: list[Any], value: Value) -> bool:
    if get_origin(annotation) is Literal:  # most conditions are on these: no need of a validator
        return any(type(value) is type(valid) and value == valid for valid in get_args(annotation))
    form: Any = Annotated[(annotation, *metadata)] if metadata else annotation  # pyright: ignore[reportInvalidTypeForm]
    adapter = TypeAdapter(form)
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


@dataclass(frozen=True)
class Views:
    """Augmented views that a step needs, by kind of image; the platform makes only these.

    A view is "plain" (normalised only), "weak" (crop, and flip where it suits the images) or "strong" (RandAugment and
    cutout). Naming one twice draws two independent views.
    """

    labelled: tuple[str, ...] = ("weak",)
    unlabelled: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()


@dataclass
class Stream:
    """Images of one kind: `views` in the order asked for, each [N, C, H, W] float on the device.

    y: [N] given labels (-1 = none). true: [N] true labels for diagnostics only (-1 = unknown).
    index: [N] position in the training set.
    """

    names: tuple[str, ...]
    views: tuple[Tensor, ...]
    y: Tensor
    true: Tensor
    index: Tensor

    @property
    def x(self) -> Tensor:
        return self.views[0]

    @property
    def weak(self) -> Tensor:
        return self.views[self.names.index("weak")]

    @property
    def strong(self) -> Tensor:
        return self.views[self.names.index("strong")]

    def split(self, parts: int) -> list[Stream]:
        """Split into `parts` streams of equal size, in order. The number of images has to be a multiple of `parts`."""
        views = [view.chunk(parts) for view in self.views]
        others = zip(self.y.chunk(parts), self.true.chunk(parts), self.index.chunk(parts), strict=True)
        return [Stream(self.names, tuple(v[i] for v in views), *other) for i, other in enumerate(others)]


@dataclass
class Batch:
    """Images of one step. A stream that the method did not ask for is None."""

    labelled: Stream
    unlabelled: Stream | None
    meta: Stream | None
    step: int
    progress: float  # step / steps, in [0, 1)

    def stream(self, name: str) -> Stream:
        """The stream called `name`: labelled, unlabelled or meta; LookupError where the batch was made without it."""
        stream = getattr(self, name)
        if stream is None:
            raise LookupError(f"this batch has no {name} images: does the method's `views` ask for them?")
        return stream

    def split(self, parts: int) -> list[Batch]:
        """Split into `parts` batches, each with its share of every stream."""
        streams = (self.labelled, self.unlabelled, self.meta)
        shares = [[None] * parts if stream is None else stream.split(parts) for stream in streams]
        return [Batch(*share, self.step, self.progress) for share in zip(*shares, strict=True)]  # type: ignore[arg-type]


class Terms(dict[str, Tensor]):
    """Named, already weighted scalar losses; the step minimises their sum. Names appear in the curves as loss/NAME."""

    def total(self) -> Tensor:
        return torch.stack([term.to(torch.promote_types(term.dtype, torch.float32)) for term in self.values()]).sum()


class LabelledImages(Protocol):
    """All labelled training images, for methods that pass over all of them at times (selection by small loss).

    index: [N] positions, as in Stream.index. y: [N] given labels. Both on the device.
    """

    index: Tensor
    y: Tensor

    def view(self, index: Tensor, name: str, generator: torch.Generator) -> Tensor:
        """A view ("plain", "weak", "strong") of the images at these positions, drawn from `generator`."""
        ...


@dataclass(frozen=True)
class Setup:
    """Facts of a trial that its method may use before the first step."""

    num_classes: int
    steps: int
    num_labelled: int
    num_unlabelled: int
    num_train: int  # size of the index space of Stream.index
    device: torch.device
    seed: int
    make_model: Callable[[int], nn.Module]  # a further, freshly initialised model; the argument varies its seed
    make_optimizer: Callable[[nn.Module], torch.optim.Optimizer]  # the trial's optimiser for a further model
    label_counts: tuple[int, ...] = ()  # labelled images per given class
    amp: bool = False
    grad_clip: float | None = None
    labelled_images: LabelledImages | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    diagnostics: bool = True  # whether some steps are watched (parts/watch.py)
