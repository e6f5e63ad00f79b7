"""Meta-gradient of the weights of a step: how each weight would change the loss on images with verified labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.hypergradient import SCHEMES, VirtualStep, cheapest_exact, virtual_forward
from methods.parts.precision import at_least_float32
from methods.parts.virtual_updates import virtual_updates
from methods.types import Batch


def verified_gradients(
    method, batch: Batch, optimizer: torch.optim.Optimizer, logits: Tensor, weights: Tensor, phi: list
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """M = mean CE of the meta batch at theta' = theta - lr grad_theta sum_i w_i CE(z_i, y_i), and grad_phi M.

    method: whose `model` steps, and whose `autocast` holds. logits: [B, K] of the labelled weak views, with their
    graph, which is kept. weights: [B], differentiable in `phi`. The virtual step is plain SGD at the current rate,
    or the step of the optimiser itself where that is Adam or AdamW.
    """
    meta, y = batch.stream("meta"), batch.labelled.y

    def train_loss(z: Tensor) -> Tensor:
        return (weights * F.cross_entropy(at_least_float32(z), y, reduction="none")).sum()

    def meta_loss(parameters: dict[str, Tensor]) -> Tensor:
        with method.autocast():
            _, z = virtual_forward(method.model, parameters, meta.weak)
        return F.cross_entropy(at_least_float32(z), meta.y)

    step = VirtualStep(
        model=method.model,
        x=batch.labelled.weak,
        logits=logits,
        features=logits.detach(),  # these and the next two are for a scheme that is not used here
        updates=virtual_updates(method.model, optimizer, copies=not isinstance(optimizer, torch.optim.SGD)),
        train_loss=train_loss,
        meta_loss=meta_loss,
        meta_features=lambda: logits,
        head_loss=lambda _, z: F.cross_entropy(z, meta.y),
        phi=phi,
        autocast=method.autocast,
    )
    return SCHEMES[cheapest_exact(method.model, logits.device)](step)
