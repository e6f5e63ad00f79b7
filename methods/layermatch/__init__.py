"""LayerMatch: pseudo-labels that train the features but not the classifier, and class centres."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from methods.base import Batch, Method, Stream, Terms, Views, hyper
from methods.layermatch.averages import AverageHyper, PredictionAverage
from methods.layermatch.blocked_stages import blocked_below, last_stages
from methods.layermatch.gates import Evidence, GateHyper, make_gate
from methods.layermatch.heads import find_head, scaled_step
from methods.parts.centres import Centres
from methods.parts.ema import ModelEMA
from methods.parts.pseudo_labels import PseudoLabels
from methods.parts.selectors import SelectorName, SelectorStart, make_selector
from methods.ranges import choice, int_uniform, log_uniform, uniform


class BatchOutputs(NamedTuple):
    """Outputs of the network for a batch. features: [B + N, D] labelled, strong; weak: [N, D], None with `teacher`."""

    labelled: Tensor
    strong: Tensor
    weak: Tensor | None
    z_labelled: Tensor
    z_weak: Tensor


class LayerMatch(Method):
    """Pseudo-labels train the features but not the classifier; centres stabilise the features (arXiv 2406.14207).

    Grad-ReLU: grad_head = grad L_labelled + alpha lambda_u grad L_u; features get all of both. The paper's alpha is 0;
    gate_mode says what else decides it: a number, time, the image's confidence (sample), the class's pseudo-labels
    (class), a random draw, the agreement of the two gradients (conflict); or what is blocked: W or b alone, further
    stages, or all but the head (mirror, the control). layermatch/gates.py has the forms.
    Avg-Clustering, centre_mode attract: C_k <- centre_ema C_k + (1 - centre_ema) mean of the unit features of class k
    in this step (labelled images weighted by labelled_weight; unlabelled ones where confident and, with view_agreement,
    both views agree), L_c = (1/M) sum_i m_i [1 - cos(strong feature_i, C_y_i)]; proto: CE of cos / centre_temperature;
    predictions: labels from each image's average prediction; rows: strong logits through averaged classifier rows;
    teacher: labels from the averaged network, in a pass of its own; attract_rows, proto_rows: both; off.
    L = L_labelled + lambda_u L_u + centre_weight min(1, t / (centre_ramp N)) L_c; L_u and m as FixMatch, or as another
    selector has it (freematch adds lambda_f L_fairness, on the gated logits).
    The paper's: the blocked classifier gradient, an EMA of feature centres. Our reading
    (docs/layermatch.md, sections 2.4, 3.2 and 4): all else, above all the form, weight and ramp of L_c, and every gate
    but the hard one. A result is that of its gate_mode and centre_mode; both stand in its row. When: few labels, where
    wrong pseudo-labels harm the classifier most. With many labels or an accurate model the full block is too cautious:
    open it where the data allow (sample, class, conflict).
    """

    class Hyper(AverageHyper, GateHyper):
        threshold: float = hyper(
            0.95,
            search=uniform(0.7, 0.98),
            ge=0,
            le=1,
            when={"selector": ("fixed", "ramp", "flexmatch")},
            help="least confidence that counts",
        )
        uratio: int = hyper(7, search=int_uniform(1, 15), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 4.0), ge=0, help="weight of the unlabelled loss")
        selector: SelectorName = hyper(
            "fixed",
            search=choice("fixed", "flexmatch", "freematch", "softmatch"),
            help="which pseudo-labels count, and how much",
        )
        selector_ema: float = hyper(
            0.999,
            search=uniform(0.9, 0.9999),
            ge=0,
            lt=1,
            when={"selector": ("freematch", "softmatch")},
            help="freematch, softmatch: EMA of their statistics",
        )
        selector_start: SelectorStart = hyper(
            "debiased",
            when={"selector": ("freematch", "softmatch")},
            help="freematch, softmatch: averages from the first batch on, or published: from constants",
        )
        clip_threshold: float = hyper(
            1.0, gt=0, le=1, when={"selector": "freematch"}, help="freematch: highest global threshold; 1 = off"
        )
        n_sigma: float = hyper(
            2.0,
            search=uniform(1.0, 3.0),
            gt=0,
            when={"selector": "softmatch"},
            help="softmatch: sharpness of the Gaussian weight",
        )
        ramp: float = hyper(
            0.4, ge=0, le=1, when={"selector": "ramp"}, help="ramp: part of the steps that ramps the weights up"
        )
        lambda_f: float = hyper(
            0.001,
            search=log_uniform(1e-4, 0.1),
            ge=0,
            when={"selector": "freematch"},
            help="freematch: weight of its fairness loss",
        )

    views = Views(labelled=("weak",), unlabelled=("weak", "strong"))
    # Not model_ema: it decides whether the teacher is a network of its own.
    in_flight = ("threshold", "lambda_u", "centre_ema", "centre_weight", "centre_temperature")

    @classmethod
    def resolve(cls, hyper: Any, steps: int) -> Any:
        hyper = super().resolve(hyper, steps)
        if hyper.average_ema is not None:
            return hyper
        return hyper.model_copy(update={"average_ema": hyper.model_ema})

    def build(self) -> None:
        settings, head = self.hyper, find_head(self.model)
        self.selector = make_selector(settings.selector, self.setup, settings)
        self.gate = make_gate(self.model, settings, self.setup, self.generator)
        self._blocked = last_stages(self.model, settings.gate_stages) if settings.gate_mode == "stages" else []
        weight = next(head.parameters())
        if settings.centre_form:
            self.centres = Centres(*_shape(head), settings.centre_ema, weight.device, weight.dtype)
        if settings.centre_mode == "predictions":
            images, classes = self.setup.num_train, self.setup.num_classes
            self.predictions = PredictionAverage(images, classes, settings.prediction_ema, weight.device, weight.dtype)
        if settings.averages_rows:
            self.rows = ModelEMA(head, settings.average_ema)
        if settings.centre_mode == "teacher" and settings.average_ema != settings.model_ema:
            self.teacher = ModelEMA(self.model, settings.average_ema)

    def loss(self, batch: Batch) -> Terms:
        labelled, unlabelled = batch.labelled, batch.stream("unlabelled")
        seen = self._forward_views(labelled, unlabelled)
        guess = PseudoLabels.of(
            self._pseudo_label_logits(seen.z_weak, unlabelled.index), self.selector, unlabelled.index
        )
        guess.record(self, unlabelled)
        evidence = Evidence(batch.step, seen.labelled, seen.z_labelled, labelled.y, guess, unlabelled.index)
        rows = self.rows.module if self.hyper.averages_rows else None
        z_strong = self.gate(find_head(self.model), seen.strong, evidence, rows)
        terms = Terms(
            labelled=self.labelled_loss(seen.z_labelled, labelled.y),
            unlabelled=self.hyper.lambda_u * guess.loss(z_strong),
        )
        if self.hyper.selector == "freematch":
            terms["fairness"] = self.hyper.lambda_f * self.selector.fairness(z_strong, guess.mask)
        if self.hyper.centre_form:
            terms["centre"] = self._centre_loss(batch.step, seen.strong, guess)
            agree = (z_strong.argmax(dim=1) == guess.label) if self.hyper.view_agreement else 1
            self._gather_means(seen, labelled.y, guess.label, guess.mask * agree)
        return terms

    def _forward_views(self, labelled: Stream, unlabelled: Stream) -> BatchOutputs:
        """One forward of all views; with `teacher`, weak views through the averaged network without gradient."""
        count, size = len(labelled.weak), len(unlabelled.weak)
        apart = self.hyper.centre_mode == "teacher"
        views = [labelled.weak, unlabelled.strong] if apart else [labelled.weak, unlabelled.weak, unlabelled.strong]
        features, logits = self._forward(torch.cat(views), count)
        z_labelled, strong = logits[:count], features[-size:]
        if apart:
            with torch.no_grad():
                z_weak = self._labeller(unlabelled.weak)
            return BatchOutputs(features[:count], strong, None, z_labelled, z_weak)
        return BatchOutputs(features[:count], strong, features[count:-size], z_labelled, logits[count:-size])

    def _forward(self, x: Tensor, labelled: int) -> tuple[Tensor, Tensor]:
        if not self._blocked:
            return self.model(x, with_features=True)
        with blocked_below(self._blocked, labelled):
            return self.model.forward(x, with_features=True)  # past the compiler: the layers are not its own now

    @property
    def _labeller(self) -> nn.Module:
        return self.teacher.module if hasattr(self, "teacher") else self.eval_model

    def _pseudo_label_logits(self, z_weak: Tensor, index: Tensor) -> Tensor:
        """Logits that the pseudo-labels are made of; with `predictions`, those of (1 - s) q_i + s average_i."""
        if self.hyper.centre_mode != "predictions":
            return z_weak
        with torch.no_grad():
            current = z_weak.to(self.predictions.average.dtype).softmax(dim=1)
            mixed = torch.lerp(current, self.predictions.update(current, index), self.hyper.prediction_share)
            return mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log()

    def _centre_loss(self, step: int, features: Tensor, guess: PseudoLabels) -> Tensor:
        weight = self.hyper.centre_weight * self.ramp_up(step, self.hyper.centre_ramp)
        if self.hyper.centre_form == "attract":
            return weight * self.centres.attract(features, guess.label, guess.mask)
        return weight * self.centres.proto(features, guess.label, guess.mask, self.hyper.centre_temperature)

    def _gather_means(self, seen: BatchOutputs, y: Tensor, label: Tensor, mask: Tensor) -> None:
        """Gather what the centres move towards after the optimiser's step; the loss of this step uses the old ones."""
        assert seen.weak is not None
        weight = torch.cat([mask.new_full(y.shape, self.hyper.labelled_weight), mask])
        self._gathered = self.centres.gather(torch.cat([seen.labelled, seen.weak]), torch.cat([y, label]), weight)
        self.record(centre_members=mask.mean())

    def descend(self, loss: Terms | Tensor, optimizer: torch.optim.Optimizer) -> None:
        with scaled_step(find_head(self.model).parameters(), self.hyper.head_lr_factor):
            super().descend(loss, optimizer)

    def step_factors(self) -> dict[str, float]:
        return {f"head.{name}": self.hyper.head_lr_factor for name, _ in find_head(self.model).named_parameters()}

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.record_ratio(**self.gate.readings())
        if self.hyper.centre_form:
            self.centres.update(*self._gathered)
        if self.hyper.averages_rows:
            self.rows.update(find_head(self.model))
        if hasattr(self, "teacher"):
            self.teacher.update(self.model)


def _shape(head: nn.Module) -> tuple[int, int]:
    """Shape (classes, features) of a head. Raises ValueError where its weight is not of that shape."""
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        kind = type(head).__name__
        raise ValueError(f"centre_mode: centres need a head with a weight of [classes, features]; {kind} has none")
    return weight.shape[0], weight.shape[1]
