"""CLID-MU: weights of noisy labels by meta-learning on the agreement of two layers, without clean labels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from methods.base import Batch, Method, Terms, Views
from methods.clid_mu.composition import base_hyper, with_bases
from methods.clid_mu.hyper_parameters import BASES, META_VIEWS, ClidMuHyper
from methods.clid_mu.layers import FEATURES, check_layers, parse_layers, stage_outputs
from methods.clid_mu.meta_objectives import SMALL_LOSS, label_loss, layered_clid
from methods.clid_mu.small_loss import SmallLossSet
from methods.parts.batch_norm import frozen_statistics
from methods.parts.hypergradient import (
    SCHEMES,
    VirtualStep,
    cheapest_exact,
    linear_head,
    virtual_forward,
)
from methods.parts.meta_models import VRI, MetaInputs, MetaModel, WNet, meta_inputs
from methods.parts.precision import at_least_float32, full_precision
from methods.parts.trust import Trust
from methods.parts.virtual_updates import Update, virtual_updates


@dataclass
class _CurrentStep:
    """State of the current step. seen: the first input `x` of the network and `features` [rows, D] of its head."""

    batch: Batch
    optimizer: torch.optim.Optimizer
    meta_due: bool = False
    warming_up: bool = False
    seen: dict[str, Tensor] = field(default_factory=dict)
    weighted: bool = False


class ClidMu(Method):
    """Weight each image by a network that is trained so that a step lowers CLID (Hu et al., 2025, arXiv 2507.11807).

    wnet: c_i = CE(z_i, y_i), s_i = V_phi(sg c_i), w_i = s_i / sum_k s_k, L = sum_i w_i c_i.
    vri: r_i = sigmoid(mu + exp(s / 2) eps) of (sg h_i, y_i), L = (1/B) sum_i CE(r_i * z_i, y_i).
    Virtual step: theta' = theta - lr grad_theta L, plain SGD at the optimiser's current rate, or a copy of the step
    that the optimiser would make, momentum, decay and moments included, before clipping (virtual_updates.py).
    Meta step: phi <- OPT(phi, dM/dphi), M = CLID(h(theta'), z(theta')) on a meta batch, labels unused (or another
    meta_goal). Real step: L with the new phi, held constant, as the labelled loss of `base`.
    The released code's (the paper's body was not available): the two meta-models, the goals, CLID as in parts/clid.py,
    and what is None or auto here, which depends on the base. Where all images are labelled: the plain virtual step, SGD
    for wnet, 100 meta images, temperature 0.5. On top of FixMatch, FlexMatch or UDA: a copy of the optimiser's step, of
    the labelled images alone, Nesterov momentum 0.9 for wnet, whose weights are not normalised, 1,000 unlabelled meta
    images in both views, temperature 0.1; the unlabelled loss is not weighted. Ours: a copy of AdamW's step with any
    base, one training forward for both steps where there are no unlabelled images, weak views where the release has
    strong ones, LayerMatch and MixUp as bases, the cheaper meta-gradients (hypergradient.py), more layers, `every`,
    meta sets drawn uniformly for all goals but *_sloss.
    When: a medium or large part of the labels is wrong and it is unknown which. meta_lr decides: search it widely.
    Costs about 4 times a plain step, 1.3 to 2.2 with last_layer or every 5 (results/hypergradient.md); the released
    meta batch of a semi-supervised base is for a GPU: on a CPU give a smaller meta_batch_size.
    """

    Hyper = with_bases(ClidMuHyper, BASES)
    views = Views(labelled=("weak",), meta=("weak",))
    compilable = False
    in_flight = ("model_ema", "temperature")

    def build(self) -> None:
        settings, setup = self.hyper, self.setup
        base = BASES[settings.base]
        self.base = base(self.model, base_hyper(settings, settings.base, base), setup, self._weighted_loss)
        self.base.ema, self.base.watch = self.ema, self.watch
        self.generator.manual_seed(setup.seed ^ 1)  # what is drawn for the meta-model is not what the base draws
        self._shared = not base.views_for(self.base.hyper).unlabelled
        self._scheme = settings.hypergradient
        if self._scheme == "auto":
            self._scheme = cheapest_exact(self.model, setup.device)
        if self._scheme == "last_layer":
            linear_head(self.model)
        self._layers = parse_layers(settings.layers)
        check_layers(self.model, self._layers)
        self.weighting = self._make_meta_model()
        momentum = 0.9 if settings.meta_optimizer == "nesterov" else 0.0
        self.meta_optimizer = self.weighting.optimizer(settings.meta_lr, momentum)
        self.trust = Trust(setup.num_train, setup.device)
        self.meta_set = None
        if settings.meta_goal in SMALL_LOSS:
            self.meta_set = SmallLossSet(setup, settings.meta_set_size, settings.meta_batch_size)

    def _make_meta_model(self) -> MetaModel:
        settings, weight = self.hyper, next(self.model.parameters())
        if settings.meta_model == "vri":
            width = self.model.get_submodule("head").get_parameter("weight").shape[1]
            return VRI(self.setup.seed, width, self.setup.num_classes).to(weight.device, weight.dtype)
        plain = settings.normalise == "none" or (settings.normalise == "auto" and not self._shared)
        return WNet(self.setup.seed, normalise="none" if plain else "sum").to(weight.device, weight.dtype)

    # -- a step --------------------------------------------------------------------------------------------------------

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        self._current = self._begin(batch, optimizer)
        with self.autocast(), self._attention(shared=True), self._first_inputs():
            terms = self.base.loss(batch)
        if not self._current.weighted:
            raise TypeError(f"base: {self.hyper.base} does not pass its labelled images through labelled_loss()")
        del self._current
        self.base.descend(terms, optimizer)
        return terms

    def after_step(self, batch: Batch) -> None:
        self.base.after_step(batch)

    @property
    def eval_model(self) -> nn.Module:
        return self.base.eval_model

    def _begin(self, batch: Batch, optimizer: torch.optim.Optimizer) -> _CurrentStep:
        """State of a new step; selects the meta set anew where a selection is due."""
        settings, epoch = self.hyper, math.ceil(self.setup.num_labelled / len(batch.labelled.y))
        epochs = settings.warmup_epochs
        if epochs is None:
            epochs = 10 if settings.meta_goal in SMALL_LOSS else 0
        since = batch.step - epochs * epoch
        if batch.step == 0 and epochs * epoch >= self.setup.steps:
            raise ValueError(
                f"warmup_epochs: {epochs} passes are {epochs * epoch} steps, which leaves none of "
                f"{self.setup.steps}; at most {(self.setup.steps - 1) // epoch}, or more train.steps"
            )
        if self.meta_set is not None and since >= 0 and since % (settings.reselect_epochs * epoch) == 0:
            with self.autocast():
                self.meta_set.select(self.model)
        return _CurrentStep(batch, optimizer, meta_due=since >= 0 and since % settings.every == 0, warming_up=since < 0)

    def _weighted_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Weighted labelled loss of the base, after an update of the meta-model where one is due."""
        current = self._current
        current.weighted = True
        with full_precision(logits.device):
            if current.warming_up:
                return F.cross_entropy(at_least_float32(logits), target)
            features = current.seen["features"][: len(target)]
            seen = meta_inputs(logits, features, target)
            if current.meta_due:
                self._meta_step(logits, seen)
            with torch.no_grad():
                output = self.weighting.output_for(seen, self.generator)
                self.trust.note(self.weighting.trust(output, target), current.batch.labelled, self)
            return self.weighting.loss(output, at_least_float32(logits), target)

    def _meta_step(self, logits: Tensor, seen: MetaInputs) -> None:
        current = self._current
        x = current.seen["x"] if self._shared else current.batch.labelled.x
        if not self._shared:  # a pass of its own over the labelled images is cheaper than one through all of them
            with self.autocast(), self._attention(shared=False), frozen_statistics(self.model):
                features, logits = self.model(x, with_features=True)
            seen = meta_inputs(logits, features, seen.target)
        value, gradients = SCHEMES[self._scheme](self._virtual_step(x, logits, seen))
        for parameter, gradient in zip(self.weighting.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.meta_optimizer.step()
        self.record(meta_loss=value)

    def _virtual_step(self, x: Tensor, logits: Tensor, seen: MetaInputs) -> VirtualStep:
        output = self.weighting.output_for(seen, self.generator)
        meta_x, meta_y = self._meta_batch(self._current.batch)
        hidden: dict[str, Tensor] = {}

        def train_loss(z: Tensor) -> Tensor:
            loss = self.weighting.loss(output, at_least_float32(z), seen.target)
            if self.hyper.vri_lambda:
                loss = loss + self.hyper.vri_lambda * self.weighting.regulariser(seen)
            return loss

        def forward(parameters: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            with self.autocast(), stage_outputs(self.model, list(self._layers)) as found:
                features, z = virtual_forward(self.model, parameters, meta_x)
            hidden.update(found)
            return features, z

        def head_loss(features: Tensor, z: Tensor) -> Tensor:
            return self._objective({**hidden, FEATURES: features}, z, meta_y)

        return VirtualStep(
            model=self.model,
            x=x,
            logits=logits,
            features=seen.features,
            updates=self._virtual_updates(),
            train_loss=train_loss,
            meta_loss=lambda parameters: head_loss(*forward(parameters)),
            meta_features=lambda: forward({})[0],
            head_loss=head_loss,
            phi=list(self.weighting.parameters()),
            autocast=self.autocast,
        )

    def _virtual_updates(self) -> dict[str, Update]:
        optimizer, how = self._current.optimizer, self.hyper.virtual_step
        plain = how == "plain" or (how == "auto" and self._shared and isinstance(optimizer, torch.optim.SGD))
        return virtual_updates(self.model, optimizer, copies=not plain, factors=self.base.step_factors())

    def _meta_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images and labels (true ones for `ce`, given ones else) of the meta batch, view after view."""
        names = META_VIEWS[self.hyper.meta_view]
        if self.meta_set is not None:
            views, y = self.meta_set.draw(names, self.generator)
        else:
            stream = batch.stream("meta")
            views, y = stream.views, stream.true if self.hyper.meta_goal == "ce" else stream.y
        return torch.cat(views), y.repeat(len(names))

    def _objective(self, hidden: dict[str, Tensor], logits: Tensor, y: Tensor) -> Tensor:
        settings = self.hyper
        if settings.meta_goal != "clid":
            return label_loss(settings.meta_goal, logits, y)
        total, each = layered_clid(hidden, self._layers, logits, settings.temperature, settings.normalizer_grad)
        if len(each) > 1:
            self.record(**{f"clid_{name}": value for name, value in each.items()})
        return total

    @contextlib.contextmanager
    def _first_inputs(self) -> Iterator[None]:
        """Keep the first inputs of the network and of its head."""
        seen = self._current.seen

        def keep(name: str):
            def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                seen.setdefault(name, inputs[0].detach())

            return hook

        modules = {"x": self.model, "features": self.model.get_submodule("head")}
        handles = [module.register_forward_pre_hook(keep(name)) for name, module in modules.items()]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _attention(self, shared: bool) -> contextlib.AbstractContextManager[Any]:
        """Switch fused attention off where a pass is differentiated twice: it has no second derivative."""
        twice = self._scheme in ("exact_reverse", "top_stage") and self._current.meta_due and shared == self._shared
        return sdpa_kernel(SDPBackend.MATH) if twice else contextlib.nullcontext()

    # -- what the platform reads --------------------------------------------------------------------------------------

    @classmethod
    def resolve(cls, hyper: Any, steps: int) -> Any:
        hyper = super().resolve(hyper, steps)
        return hyper.model_copy(update=hyper.released())

    @classmethod
    def views_for(cls, hyper: Any) -> Views:
        hyper, base = hyper.model_copy(update=hyper.released()), BASES[hyper.base]
        views = base.views_for(base_hyper(hyper, hyper.base, base))
        meta = () if hyper.meta_goal in SMALL_LOSS else META_VIEWS[hyper.meta_view]
        return Views(views.labelled, views.unlabelled, meta)

    @classmethod
    def stream_sizes(cls, hyper: Any, batch_size: int) -> dict[str, int]:
        hyper, base = hyper.model_copy(update=hyper.released()), BASES[hyper.base]
        sizes = base.stream_sizes(base_hyper(hyper, hyper.base, base), batch_size)
        return {**sizes, "meta": hyper.meta_batch_size if cls.views_for(hyper).meta else 0}

    def read_records(self) -> dict[str, float]:
        return {**self.base.read_records(), **super().read_records(), **self.trust.read()}

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "meta_optimizer": self.meta_optimizer.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.meta_optimizer.load_state_dict(state["meta_optimizer"])
