"""The contract of a method: what it sees, what it minimises, what it remembers.

A method is one file in this folder holding one subclass of `Method`. `loss` is enough for most; a method that steers
the step itself (a meta-update) overrides `step`. Everything that must survive a preemption lives in `state_dict()`:
sub-modules, buffers and, through `extra_state`, anything else. Nothing in here knows the platform around it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.ema import ModelEMA
from methods.parts.watch import Watch
from methods.ranges import Range, uniform

__all__ = ["Batch", "LabelledImages", "Method", "Setup", "Stream", "Terms", "Views", "hyper"]


def hyper(default: Any, *, search: Range | None = None, help: str, **limits: Any) -> Any:
    """A hyper-parameter: its default, the range `auto` searches, its help and pydantic limits (`ge=`, `lt=`, ...)."""
    return Field(default, description=help, json_schema_extra={"search": search}, **limits)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Views:
    """Which augmented views of which images a step needs; the platform makes only these.

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
        """In so many parts of equal size, in order. The number of images has to be a multiple of `parts`."""
        views = [view.chunk(parts) for view in self.views]
        others = zip(self.y.chunk(parts), self.true.chunk(parts), self.index.chunk(parts), strict=True)
        return [Stream(self.names, tuple(v[i] for v in views), *other) for i, other in enumerate(others)]


@dataclass
class Batch:
    """What one step sees. A stream the method did not ask for is None."""

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
        """In so many batches, each with its share of every stream."""
        streams = (self.labelled, self.unlabelled, self.meta)
        shares = [[None] * parts if stream is None else stream.split(parts) for stream in streams]
        return [Batch(*share, self.step, self.progress) for share in zip(*shares, strict=True)]  # type: ignore[arg-type]


class Terms(dict[str, Tensor]):
    """Named, already weighted scalar losses; the step minimises their sum. Names appear in the curves as loss/NAME."""

    def total(self) -> Tensor:
        if Watch.open is not None:
            Watch.open.terms(self)
        return torch.stack([term.to(torch.promote_types(term.dtype, torch.float32)) for term in self.values()]).sum()


class LabelledImages(Protocol):
    """All labelled training images, for methods that look at each of them now and then (selection by small loss).

    index: [N] positions, as in Stream.index. y: [N] given labels. Both on the device.
    """

    index: Tensor
    y: Tensor

    def view(self, index: Tensor, name: str, generator: torch.Generator) -> Tensor:
        """A view ("plain", "weak", "strong") of the images at these positions, drawn from `generator`."""
        ...


@dataclass(frozen=True)
class Setup:
    """What a method may know of its trial before the first step."""

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


class Method(nn.Module):
    """Base of all methods. Subclasses declare `Hyper` and `views`, and define `loss` (or `step`)."""

    class Hyper(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

        model_ema: float = hyper(
            0.999, search=uniform(0.9, 0.9999), ge=0, lt=1, help="EMA of the weights that are evaluated; 0 = off"
        )

    views: ClassVar[Views] = Views()
    compilable: ClassVar[bool] = True  # False: the step differentiates twice, which torch.compile cannot
    in_flight: ClassVar[tuple[str, ...]] = ()  # hyper-parameters that act from the next step on when changed in flight
    accumulates: ClassVar[bool] = False
    """Whether a step may be made in parts (train.accumulate): True where `loss` is a mean over images, each judged by
    itself, and changes no state. Not inherited: a class whose loss or selector is another has to say so itself."""

    def __init__(self, model: nn.Module, hyper: Any, setup: Setup) -> None:
        super().__init__()
        self.model = model
        self.hyper = hyper
        self.setup = setup
        self.accumulate = 1  # parts of a step; set by the trial
        self.ema = ModelEMA(model, hyper.model_ema)
        self.generator = torch.Generator(setup.device).manual_seed(setup.seed)
        self._records: dict[str, tuple[Tensor, int | Tensor]] = {}
        head = getattr(getattr(model, "head", None), "weight", None)
        guesses = setup.num_train if self.views_for(hyper).unlabelled else 0
        self.watch = Watch(
            setup.diagnostics, None if head is None else tuple(head.shape), setup.num_classes, guesses, setup.device
        )
        self.build()

    # -- what a subclass may define ----------------------------------------------------------------------------------

    def build(self) -> None:
        """Create the state of the method: buffers, sub-modules, optimisers. Called once, on the device."""

    def loss(self, batch: Batch) -> Terms:
        """The losses of one step. Never waits for the host: no .item(), no data-dependent shapes."""
        raise TypeError(f"{type(self).__name__} defines neither loss() nor step()")

    def labelled_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of the labelled images: the mean cross-entropy of logits [B, K] against classes [B] or soft
        targets [B, K]. Where `loss` calls this, another method can be built on this one and weight the images
        (clid_mu's `base`): then the labelled images have to be the first rows of the first forward pass."""
        return F.cross_entropy(logits, target)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        """One optimisation step. Override to steer it; use `autocast` and `descend`."""
        if self.accumulate > 1:
            return self._step_in_parts(batch, optimizer)
        with self.autocast():
            terms = self.loss(batch)
        self.descend(terms.total(), optimizer)
        return terms

    def after_step(self, batch: Batch) -> None:
        """After the optimiser has moved the weights: averages that follow them. Call super() when overriding."""
        self.ema.update(self.model)

    @property
    def eval_model(self) -> nn.Module:
        """The model that is evaluated: the averaged weights."""
        return self.ema.module

    @classmethod
    def views_for(cls, hyper: Any) -> Views:
        """The views a step needs. `views`, unless hyper-parameters decide."""
        return cls.views

    @classmethod
    def stream_sizes(cls, hyper: Any, batch_size: int) -> dict[str, int]:
        """Images per step of each stream. `uratio` and `meta_batch_size` are the field's names for the ratios.

        (`meta_set_size` and `meta_source`, where a method declares them, say what meta batches are drawn from.)
        """
        views = cls.views_for(hyper)
        return {
            "labelled": batch_size,
            "unlabelled": batch_size * getattr(hyper, "uratio", 1) if views.unlabelled else 0,
            "meta": getattr(hyper, "meta_batch_size", batch_size) if views.meta else 0,
        }

    def extra_state(self) -> dict[str, Any]:
        """State beyond parameters and buffers (an inner optimiser's, say). Call super() when overriding."""
        return {"generator": self.generator.get_state(), "records": dict(self._records)}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"].cpu())
        device = self.setup.device
        self._records = {
            name: (total.to(device), count.to(device) if isinstance(count, Tensor) else count)
            for name, (total, count) in state["records"].items()
        }

    # -- what a subclass uses ----------------------------------------------------------------------------------------

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16 where the trial runs mixed precision, else nothing."""
        if not self.setup.amp:
            return contextlib.nullcontext()
        return torch.autocast(self.setup.device.type, dtype=torch.bfloat16)

    def take_step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        """What the platform calls: `step` and `after_step`, watched where it is the step's turn."""
        compiled = getattr(self.model, "_compiled_call_impl", None) is not None
        with self.watch.turn(batch.step, compiled) as found:
            terms = self.step(batch, optimizer)
        self.record_ratio(**found)
        self.after_step(batch)
        return terms

    def ramp_up(self, step: int, share: float) -> float:
        """min(1, step / (share * steps)): a linear ramp over the first `share` of the steps; 0 = no ramp."""
        length = share * self.setup.steps
        return min(1.0, step / length) if length > 0 else 1.0

    def descend(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """zero_grad, backward, clip (where the trial asks for it), optimiser step."""
        if Watch.open is not None:
            Watch.open.look()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._move(optimizer)

    def _move(self, optimizer: torch.optim.Optimizer) -> None:
        if self.setup.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.setup.grad_clip)
        optimizer.step()

    def _step_in_parts(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        """The same step with the memory of a part of the batch: the mean of the parts' gradients moves the weights.

        The gradient is that of the whole batch where `accumulates` holds and the model judges images one by one; batch
        normalisation takes its statistics from each part.
        """
        optimizer.zero_grad(set_to_none=True)
        sums = Terms()
        for part in batch.split(self.accumulate):
            with self.autocast():
                terms = self.loss(part)
            total = terms.total() / self.accumulate
            if Watch.open is not None:
                Watch.open.look()
            total.backward()
            for name, term in terms.items():
                value = term.detach() / self.accumulate
                sums[name] = sums[name] + value if name in sums else value
        self._move(optimizer)
        return sums

    def record(self, **values: Tensor) -> None:
        """Add scalar diagnostics to the running means read at the next evaluation. Device-side; never a host sync."""
        for name, value in values.items():
            total, count = self._records.get(name, (None, 0))
            value = value.detach().float()
            self._records[name] = (value if total is None else total + value, count + 1)

    def record_ratio(self, **pairs: tuple[Tensor, Tensor]) -> None:
        """As `record`, for a mean over some of the images: (sum, count). NaN where nothing was counted since the last
        reading (no truth known, nothing selected)."""
        for name, (part, whole) in pairs.items():
            total, count = self._records.get(name, (None, 0))
            part = part.detach().float()
            self._records[name] = (part if total is None else total + part, count + whole.detach().float())

    def read_records(self) -> dict[str, float]:
        """Means since the last call, and start anew. Waits for the device once."""
        found = {name: total / count for name, (total, count) in self._records.items()} | self.watch.read()
        self._records.clear()
        if not found:
            return {}
        values = torch.stack([value.to(torch.float32) for value in found.values()]).tolist()
        return dict(zip(found, values, strict=True))

    # -- state -------------------------------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        return self.extra_state()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.load_extra_state(state)

    # -- what the platform asks about a class ------------------------------------------------------------------------

    @classmethod
    def search_ranges(cls) -> dict[str, Range]:
        """Hyper-parameters that declare a search range: what `auto` means in a sweep file."""
        found = {}
        for name, info in cls.Hyper.model_fields.items():
            extra = info.json_schema_extra
            if isinstance(extra, dict) and isinstance(extra.get("search"), Range):
                found[name] = extra["search"]
        return found

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    def trainable(self) -> Iterator[nn.Parameter]:
        """Parameters the trial's optimiser moves: the model's, not the EMA's nor a meta-network's."""
        return self.model.parameters()
