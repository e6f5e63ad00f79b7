"""Gates: how much of a loss reaches the classifier's own weights, while all of it reaches the features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call


def gated_head(head: nn.Module, features: Tensor, gate: float) -> Tensor:
    """Logits [N, K] of `features` [N, D] whose gradient to the head's parameters is scaled by `gate`.

    W_gate = sg(W) + gate (W - sg(W)), b likewise: the value is W's, the gradient to the features is unchanged. gate 0
    is LayerMatch's Grad-ReLU (hard block), gate 1 the plain head. Works for any head, not only linear ones: its
    parameters are gated, not what it makes of them. (LayerMatch spec 2.2 and 2.4 G1; the scalar form is our reading.)
    """
    frozen = {name: parameter.detach() for name, parameter in head.named_parameters()}
    if gate > 0:
        live = dict(head.named_parameters())
        frozen = {name: value + gate * (live[name] - value) for name, value in frozen.items()}
    return functional_call(head, frozen, (features,))
