"""LayerMatch: doubt the exit, raise the inside."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.centres import Centres
from methods.parts.gates import gated_head
from methods.parts.pseudo_labels import PseudoLabels
from methods.parts.selectors import make_selector
from methods.ranges import choice, int_uniform, log_uniform, uniform


class LayerMatch(Method):
    """Pseudo-labels train the features but not the classifier, and centres steady the features (arXiv 2406.14207).

    Grad-ReLU: grad_head = grad L_labelled + gate lambda_u grad L_u; features get all of both; gate 0 is the paper's.
    Avg-Clustering: C_k <- centre_ema C_k + (1 - centre_ema) mean of the unit features of class k in this step (labelled
    images weighted by labelled_weight; unlabelled ones where confident and, with view_agreement, both views agree),
    attract: L_c = (1/M) sum_i m_i [1 - cos(strong feature_i, C_y_i)]; proto: CE of cos / centre_temperature.
    L = L_labelled + lambda_u L_u + centre_weight min(1, t / (centre_ramp N)) L_c; L_u and m as FixMatch.
    The paper's: the blocked classifier gradient, an EMA of feature centres. Our reading (spec 3.2 A1 and 4): everything
    else, above all the form, weight and ramp of L_c. When: few labels, where wrong guesses harm the classifier most.
    """

    class Hyper(Method.Hyper):
        threshold: float = hyper(0.95, search=uniform(0.7, 0.98), ge=0, le=1, help="least confidence that counts")
        uratio: int = hyper(7, search=int_uniform(1, 15), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 4.0), ge=0, help="weight of the unlabelled loss")
        selector: Literal["fixed", "none"] = hyper("fixed", help="which pseudo-labels count")
        gate: float = hyper(
            0.0, search=choice(0.0, 0.1, 0.3, 1.0), ge=0, le=1, help="share of L_u that trains the head; 1 = FixMatch"
        )
        centre_mode: Literal["attract", "proto", "off"] = hyper(
            "attract", search=choice("attract", "proto", "off"), help="how centres pull features"
        )
        centre_ema: float = hyper(0.99, search=uniform(0.9, 0.9995), ge=0, lt=1, help="EMA coefficient of the centres")
        centre_weight: float = hyper(0.5, search=log_uniform(0.01, 2.0), ge=0, help="weight of the centre loss")
        centre_temperature: float = hyper(0.1, search=log_uniform(0.05, 0.5), gt=0, help="temperature of proto")
        centre_ramp: float = hyper(
            0.02, search=uniform(0.0, 0.1), ge=0, le=1, help="part of the steps that ramps centre_weight up"
        )
        labelled_weight: float = hyper(
            1.0, search=choice(0.0, 1.0, 5.0), ge=0, help="weight of labelled images in the centres"
        )
        view_agreement: bool = hyper(
            True, search=choice(True, False), help="centres take only images whose two views agree"
        )

    views = Views(labelled=("weak",), unlabelled=("weak", "strong"))

    def build(self) -> None:
        self.selector = make_selector(self.hyper.selector, self.setup, self.hyper)
        head = self.model.get_submodule("head")
        weight = head.get_parameter("weight")
        classes, dim = weight.shape
        self.centres = Centres(classes, dim, self.hyper.centre_ema, weight.device, weight.dtype)

    def loss(self, batch: Batch) -> Terms:
        labelled, unlabelled = batch.labelled, batch.stream("unlabelled")
        views = (labelled.weak, unlabelled.weak, unlabelled.strong)
        sizes = [len(view) for view in views]
        features, logits = self.model(torch.cat(views), with_features=True)
        phi_labelled, phi_weak, phi_strong = features.split(sizes)
        z_labelled, z_weak, _ = logits.split(sizes)
        z_strong = gated_head(self.model.get_submodule("head"), phi_strong, self.hyper.gate)
        guess = PseudoLabels.of(z_weak, self.selector, unlabelled.index)
        guess.record(self, unlabelled)
        terms = Terms(
            labelled=F.cross_entropy(z_labelled, labelled.y), unlabelled=self.hyper.lambda_u * guess.loss(z_strong)
        )
        if self.hyper.centre_mode != "off":
            terms["centre"] = self._centre_loss(batch.step, phi_strong, guess)
            agree = (z_strong.argmax(dim=1) == guess.label) if self.hyper.view_agreement else 1
            self._observe(phi_labelled, labelled.y, phi_weak, guess.label, guess.mask * agree)
        return terms

    def _centre_loss(self, step: int, features: Tensor, guess: PseudoLabels) -> Tensor:
        weight = self.hyper.centre_weight * self.ramp_up(step, self.hyper.centre_ramp)
        if self.hyper.centre_mode == "attract":
            return weight * self.centres.attract(features, guess.label, guess.mask)
        return weight * self.centres.proto(features, guess.label, guess.mask, self.hyper.centre_temperature)

    def _observe(self, labelled: Tensor, y: Tensor, weak: Tensor, label: Tensor, mask: Tensor) -> None:
        """What the centres will move towards, once the optimiser has stepped: the loss uses the centres from before."""
        weight = torch.cat([mask.new_full(y.shape, self.hyper.labelled_weight), mask])
        self._seen = self.centres.gather(torch.cat([labelled, weak]), torch.cat([y, label]), weight)
        self.record(centre_members=mask.mean())

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        if self.hyper.centre_mode != "off":
            self.centres.update(*self._seen)
