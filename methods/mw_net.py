"""MW-Net: weights of noisy labels from a small network that images with verified labels train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from methods.base import hyper
from methods.l2rw import L2RW
from methods.parts.meta_models import WNet
from methods.ranges import log_uniform


class MWNet(L2RW):
    """Weight each image by a function of its loss, learnt on verified labels (Shu et al., 2019, arXiv 1902.07379).

    c_i = CE(z_i, y_i), w_i = V_phi(sg c_i) in (0, 1), L = (1/B) sum_i w_i c_i. Virtual step: theta' = theta - lr
    grad_theta L, plain SGD at the current rate; meta step: phi <- Adam(phi, grad_phi M), M the mean CE of a batch of
    verified labels at theta'; real step: L with the new phi, held constant. The paper's: the three steps, the weighting
    network. The released code's: V 1-100-1 with ReLU and sigmoid, Adam 1e-3 with decay 1e-4, weights not normalised,
    1,000 verified images in batches of 100. Ours: one training forward serves both steps, and either exact scheme of
    hypergradient.py. When: wrong labels or uneven classes, and some images whose labels are verified (labels.clean: 100
    and more). Costs about four plain steps.
    """

    class Hyper(L2RW.Hyper):
        meta_lr: float = hyper(1e-3, search=log_uniform(1e-4, 1e-1), gt=0, help="Adam's rate of the weighting network")

    def build(self) -> None:
        super().build()
        weight = next(self.model.parameters())
        self.weighting = WNet(self.setup.seed, normalise="none").to(weight.device, weight.dtype)
        # fused: the other implementations read their step counter on the host
        self.meta_optimizer = torch.optim.Adam(
            self.weighting.parameters(), lr=self.hyper.meta_lr, weight_decay=1e-4, fused=True
        )

    def weights(self, losses: Tensor, gradients: Callable[..., Any]) -> Tensor:
        phi = list(self.weighting.parameters())
        value, found = gradients(self.weighting(losses) / len(losses), phi)
        self.record(meta_loss=value)
        for parameter, gradient in zip(phi, found, strict=True):
            parameter.grad = gradient
        self.meta_optimizer.step()
        return self.weighting(losses) / len(losses)

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "meta_optimizer": self.meta_optimizer.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.meta_optimizer.load_state_dict(state["meta_optimizer"])
