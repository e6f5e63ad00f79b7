"""The base class of all methods: views, loss, step, state and diagnostics.

A method is one file in this folder, or one folder, with one subclass of `Method`. `loss` is enough for most; a method
with a step of its own (a meta-update) overrides `step`. Everything that must survive a preemption lives in
`state_dict()`: sub-modules, buffers and, through `extra_state`, anything else. Nothing in here imports the platform.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.ema import ModelEMA, automatic_decay
from methods.parts.watch import Watch
from methods.ranges import Range, uniform
from methods.types import (
    Batch,
    Conditions,
    LabelledImages,
    LabelledLoss,
    Setup,
    Stream,
    Terms,
    Views,
    check_conditions,
    conditions_of,
    hyper,
)

__all__ = ["Batch", "LabelledImages", "LabelledLoss", "Method", "Setup", "Stream", "Terms", "Views", "hyper"]


class Method(nn.Module):
    """Base class of all methods. Subclasses declare `Hyper` and `views`, and define `loss` (or `step`)."""

    class Hyper(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

        model_ema: float | None = hyper(
            None,
            search=uniform(0.9, 0.9999),
            ge=0,
            lt=1,
            help="EMA of the weights that are evaluated: its decay; 0 = off, none = 0.999, in short runs a memory of a "
            "tenth of the steps",
        )

    views: ClassVar[Views] = Views()
    compilable: ClassVar[bool] = True  # False: the step differentiates twice, which torch.compile cannot
    in_flight: ClassVar[tuple[str, ...]] = ()  # hyper-parameters that act from the next step on when changed in flight
    accumulates: ClassVar[bool] = False
    """Whether a step may be made in parts (train.accumulate): True where `loss` is a mean over images, of terms of one
    image each, and changes no state. Not inherited: a class with another loss or selector has to declare it itself."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_conditions(cls.Hyper)

    def __init__(self, model: nn.Module, hyper: Any, setup: Setup, labelled_loss: LabelledLoss | None = None) -> None:
        """Build the method. labelled_loss: what `labelled_loss` computes instead of the mean cross-entropy."""
        super().__init__()
        self._labelled_loss = F.cross_entropy if labelled_loss is None else labelled_loss
        self.model = model
        self.hyper = self.resolve(hyper, setup.steps)
        self.setup = setup
        self.accumulate = 1  # parts of a step; set by the trial
        self.ema = ModelEMA(model, self.hyper.model_ema)
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
        targets [B, K], or the constructor's `labelled_loss`. Where `loss` calls this, another method can be built on
        this one and weight the images (clid_mu's `base`): then the labelled images have to be the first rows of the
        first forward pass."""
        return self._labelled_loss(logits, target)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        """Make one optimisation step. An override uses `autocast` and `descend`."""
        if self.accumulate > 1:
            return self._step_in_parts(batch, optimizer)
        with self.autocast():
            terms = self.loss(batch)
        self.descend(terms, optimizer)
        return terms

    def after_step(self, batch: Batch) -> None:
        """Update the averages that follow the weights, after the optimiser's step. Call super() when overriding."""
        self.ema.update(self.model)

    @property
    def eval_model(self) -> nn.Module:
        """The model that is evaluated: the averaged weights."""
        return self.ema.module

    def step_factors(self) -> dict[str, float]:
        """Factors by which the step of some parameters, by name, is longer than the optimiser's, where an overridden
        `descend` makes it so; a virtual step (clid_mu) moves them as far."""
        return {}

    @classmethod
    def resolve(cls, hyper: Any, steps: int) -> Any:
        """`hyper` with a number where None leaves it to the trial (model_ema), for a trial of `steps` steps; that is
        what `self.hyper` holds. Call super() when overriding."""
        if hyper.model_ema is not None:
            return hyper
        return hyper.model_copy(update={"model_ema": automatic_decay(steps)})

    @classmethod
    def views_for(cls, hyper: Any) -> Views:
        """The views that a step needs: `views`, unless hyper-parameters decide."""
        return cls.views

    @classmethod
    def stream_sizes(cls, hyper: Any, batch_size: int) -> dict[str, int]:
        """Images per step of each stream, by the hyper-parameters `uratio` and `meta_batch_size` where they exist.

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
        """Autocast to bf16 where the trial runs in mixed precision, else a null context."""
        if not self.setup.amp:
            return contextlib.nullcontext()
        return torch.autocast(self.setup.device.type, dtype=torch.bfloat16)

    def take_step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        """Call `step` and `after_step`, with diagnostics of gradients every so many steps. The platform calls this."""
        compiled = getattr(self.model, "_compiled_call_impl", None) is not None
        with self.watch.observe(batch.step, compiled) as found:
            terms = self.step(batch, optimizer)
        self.record_ratio(**found)
        self.after_step(batch)
        return terms

    def ramp_up(self, step: int, share: float) -> float:
        """min(1, step / (share * steps)): a linear ramp over the first `share` of the steps; 0 = no ramp."""
        length = share * self.setup.steps
        return min(1.0, step / length) if length > 0 else 1.0

    def descend(self, loss: Terms | Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Descend: zero_grad, backward, clip (where the trial asks for it), optimiser step.

        loss: the terms of the step, or a scalar; only those of terms enter the diagnostics of gradients.
        """
        if isinstance(loss, Terms):
            self.watch.compare(loss)
            loss = loss.total()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._move(optimizer)

    def _move(self, optimizer: torch.optim.Optimizer) -> None:
        if self.setup.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.setup.grad_clip)
        optimizer.step()

    def _step_in_parts(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        """Make the same step with the memory of a part of the batch: by the mean of the parts' gradients.

        The gradient is that of the whole batch where `accumulates` holds and the model treats images one by one; batch
        normalisation takes its statistics from each part.
        """
        optimizer.zero_grad(set_to_none=True)
        sums = Terms()
        for part in batch.split(self.accumulate):
            with self.autocast():
                terms = self.loss(part)
            self.watch.compare(terms)
            (terms.total() / self.accumulate).backward()
            for name, term in terms.items():
                value = term.detach() / self.accumulate
                sums[name] = sums[name] + value if name in sums else value
        self._move(optimizer)
        return sums

    def record(self, **values: Tensor) -> None:
        """Add scalar diagnostics to the running means that the next evaluation reads. Never waits for the device."""
        for name, value in values.items():
            total, count = self._records.get(name, (None, 0))
            value = value.detach().float()
            self._records[name] = (value if total is None else total + value, count + 1)

    def record_ratio(self, **pairs: tuple[Tensor, Tensor]) -> None:
        """Add to means over some of the images: (sum, count). NaN where nothing was counted since the last reading (no
        truth known, nothing selected)."""
        for name, (part, whole) in pairs.items():
            total, count = self._records.get(name, (None, 0))
            part = part.detach().float()
            self._records[name] = (part if total is None else total + part, count + whole.detach().float())

    def read_records(self) -> dict[str, float]:
        """Means since the last call; resets them. Waits for the device once."""
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

    # -- what the platform reads of a class ------------------------------------------------------------------------

    @classmethod
    def search_ranges(cls) -> dict[str, Range]:
        """Search ranges by hyper-parameter, where declared: what `auto` means in a sweep file."""
        found = {}
        for name, info in cls.Hyper.model_fields.items():
            extra = info.json_schema_extra
            if isinstance(extra, dict) and isinstance(extra.get("search"), Range):
                found[name] = extra["search"]
        return found

    @classmethod
    def conditions(cls) -> Conditions:
        """Conditions by hyper-parameter, where declared: the values of others at which it acts (`when` of `hyper`)."""
        return conditions_of(cls.Hyper)

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]

    def trainable(self) -> Iterator[nn.Parameter]:
        """Parameters the trial's optimiser moves: the model's, not the EMA's nor a meta-network's."""
        return self.model.parameters()
