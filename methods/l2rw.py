"""L2RW: each image's weight is how far a step on it would lower the loss on images with verified labels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.precision import at_least_float32, full_precision
from methods.parts.trust import Trust
from methods.parts.verified_step import verified_gradients
from methods.ranges import int_log_uniform


class L2RW(Method):
    """Weight each image by the fit of its gradient to that of verified labels (Ren et al., 2018, arXiv 1803.09050).

    theta'(eps) = theta - lr grad_theta sum_i eps_i CE(z_i, y_i), M(eps) the mean CE of a batch of verified labels at
    theta'(eps); u_i = max(0, -dM/deps_i) at eps = 0, w_i = u_i / sum_k u_k (all 0 where no u is positive), L = sum_i
    w_i CE(z_i, y_i). The paper's: the perturbation, the clipped and normalised weights, plain SGD in the virtual step;
    lr cancels. Ours: one training forward serves both steps, and either exact scheme of hypergradient.py. When: wrong
    labels or uneven classes, and some images whose labels are verified (labels.clean). A weight depends on its step
    alone, so it varies more than mw_net's. Costs some four plain steps.
    """

    class Hyper(Method.Hyper):
        meta_batch_size: int = hyper(100, search=int_log_uniform(20, 100), ge=1, help="verified images of a step")
        meta_source: Literal["clean", "held_out"] = hyper(
            "clean", help="clean = labels.clean; held_out = the validation part, which then also trains"
        )

    views = Views(labelled=("weak",), meta=("weak",))
    compilable = False
    in_flight = ("model_ema",)

    def build(self) -> None:
        self.trust = Trust(self.setup.num_train, self.setup.device)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        with self.autocast(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            logits = self.model(batch.labelled.weak)
        with full_precision(logits.device):
            losses = F.cross_entropy(at_least_float32(logits), batch.labelled.y, reduction="none")
            gradients = functools.partial(verified_gradients, self, batch, optimizer, logits)
            weights = self.weights(losses.detach(), gradients).detach()
            self.trust.note(weights * len(weights), batch.labelled, self)
        terms = Terms(labelled=(weights * losses).sum())
        self.descend(terms, optimizer)
        return terms

    def weights(self, losses: Tensor, gradients: Callable[..., Any]) -> Tensor:
        """Weights [B] of the losses [B]. gradients: M and its gradient, of weights and what they depend on."""
        perturbation = torch.zeros_like(losses, requires_grad=True)
        value, (found,) = gradients(perturbation, [perturbation])
        self.record(meta_loss=value)
        useful = (-found).clamp(min=0)
        total = useful.sum()
        return useful / torch.where(total > 0, total, torch.ones_like(total))

    def read_records(self) -> dict[str, float]:
        return {**super().read_records(), **self.trust.read()}
