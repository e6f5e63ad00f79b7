"""CLID-MU: learn which labels to trust from the agreement of two layers, without a clean label."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.clid import clid
from methods.parts.hypergradient import exact_reverse, learning_rates, virtual_forward
from methods.parts.meta_models import WNet, sum_normalised
from methods.ranges import choice, int_log_uniform, log_uniform, uniform


class ClidMu(Method):
    """Weight each image by a network that is trained so that a step lowers CLID (Hu et al., 2025, arXiv 2507.11807).

    c_i = CE(z_i, y_i), s_i = V_phi(sg c_i), w_i = s_i / sum_k s_k, L = sum_i w_i c_i.
    Virtual step: theta' = theta - lr grad_theta L, plain SGD at the optimiser's current rate.
    Meta step: phi <- SGD(phi, d CLID(h(theta'), z(theta')) / d phi) on a meta batch of training images, labels unused.
    Real step: L with the new phi, held constant.
    The released code's (the paper's body was not available): all of it, with CLID as in parts/clid.py and V_phi =
    Linear(1, 100), ReLU, Linear(100, 1), sigmoid. Ours: one training forward serves both steps (same weights, batch
    and BN statistics, hence the same numbers), the weak view where the release has a strong one, `every`.
    When: a medium or large part of the labels is wrong and nobody can say which. Costs about 4 times a plain step.
    """

    class Hyper(Method.Hyper):
        meta_lr: float = hyper(
            1e-5, search=log_uniform(1e-5, 1e-1), gt=0, help="learning rate of the weighting network"
        )
        meta_batch_size: int = hyper(100, search=int_log_uniform(50, 400), ge=2, help="images of a meta batch")
        meta_set_size: int = hyper(1000, ge=2, help="images that meta batches are drawn from; their labels are unused")
        meta_source: Literal["training", "unlabelled", "held_out"] = hyper(
            "training", help="where the meta set is drawn from; with few labels, unlabelled"
        )
        temperature: float = hyper(0.5, search=uniform(0.1, 1.0), gt=0, help="CLID's temperature on feature cosines")
        normalizer_grad: bool = hyper(
            False, search=choice(False, True), help="differentiate CLID's row sums; off = as released"
        )
        every: int = hyper(1, ge=1, help="meta update every so many steps; 1 = as released")

    views = Views(labelled=("weak",), meta=("weak",))
    compilable = False

    def build(self) -> None:
        weight = next(self.model.parameters())
        self.weighting = WNet(self.setup.seed).to(weight.device, weight.dtype)
        self.meta_optimizer = torch.optim.SGD(self.weighting.parameters(), lr=self.hyper.meta_lr, weight_decay=5e-4)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        # Fused attention kernels have no second derivative.
        with self.autocast(), sdpa_kernel(SDPBackend.MATH):
            losses = F.cross_entropy(self.model(batch.labelled.weak), batch.labelled.y, reduction="none")
        if batch.step % self.hyper.every == 0:
            self._meta_step(losses, batch.stream("meta").weak, optimizer)
        with torch.no_grad():
            weights = self._weights(losses)
        self._record_weights(weights, batch)
        terms = Terms(labelled=(weights * losses).sum())
        self.descend(terms.total(), optimizer)
        return terms

    def _weights(self, losses: Tensor) -> Tensor:
        return sum_normalised(self.weighting(losses.detach()))

    def _meta_step(self, losses: Tensor, x: Tensor, optimizer: torch.optim.Optimizer) -> None:
        def meta_loss(parameters: dict[str, Tensor]) -> Tensor:
            with self.autocast():
                features, logits = virtual_forward(self.model, parameters, x)
            return clid(features, logits, self.hyper.temperature, self.hyper.normalizer_grad)

        phi = list(self.weighting.parameters())
        train_loss = (self._weights(losses) * losses).sum()
        value, gradients = exact_reverse(self.model, train_loss, learning_rates(self.model, optimizer), meta_loss, phi)
        for parameter, gradient in zip(phi, gradients, strict=True):
            parameter.grad = gradient
        self.meta_optimizer.step()
        self.record(meta_loss=value)

    def _record_weights(self, weights: Tensor, batch: Batch) -> None:
        """Mean weight of truly clean and of truly noisy images, in units of the uniform weight 1 / B."""
        y, true = batch.labelled.y, batch.labelled.true
        clean, noisy = ((true >= 0) & (y == true)).float(), ((true >= 0) & (y != true)).float()
        relative = weights * len(weights)
        self.record_ratio(
            weight_clean=((relative * clean).sum(), clean.sum()), weight_noisy=((relative * noisy).sum(), noisy.sum())
        )

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "meta_optimizer": self.meta_optimizer.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.meta_optimizer.load_state_dict(state["meta_optimizer"])
