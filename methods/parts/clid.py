"""CLID: divergence of the similarity graphs of a mini-batch in the output and in the last hidden layer (2507.11807).

The paper's own formula was not available to us; this is the authors' released code (docs/clid_mu.md,
section 1.2).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.parts.precision import at_least_float32, full_precision

EPSILON = 1e-7


def log_feature_graph(features: Tensor, temperature: float) -> Tensor:
    """Feature graph log Q [N, N]: row-wise log-softmax of max(cos(h_i, h_j) / temperature, 0), with the diagonal."""
    unit = F.normalize(features, dim=1, eps=1e-12)
    return (unit @ unit.T / temperature).clamp(min=0).log_softmax(dim=1)


def output_graph(logits: Tensor, normalizer_grad: bool = False) -> Tensor:
    """Output graph P [N, N]: cosines of softmax outputs over the sum of their row (a constant by default)."""
    unit = F.normalize(logits.softmax(dim=1), dim=1, eps=1e-12)
    similarity = unit @ unit.T
    normaliser = similarity.sum(dim=1, keepdim=True)
    return similarity / (normaliser if normalizer_grad else normaliser.detach())


def clid(features: Tensor, logits: Tensor, temperature: float, normalizer_grad: bool = False) -> Tensor:
    """Cross-entropy H(P, sg Q) of the two graphs, averaged over rows: a scalar; lower means the layers agree.

    features: [N, D] input of the last linear layer. logits: [N, C]. temperature: above 0, else ValueError.
    Labels are not used. The gradient reaches the logits only. Values at different N are not comparable (uniform graphs
    give log N). normalizer_grad False is the released gradient, which only ever lowers the similarity of outputs;
    True also differentiates the row sums, which attracts pairs with similar features.
    """
    if not temperature > 0:
        raise ValueError(f"temperature: must be above 0, got {temperature}")
    with full_precision(features.device):
        log_q = log_feature_graph(at_least_float32(features.detach()), temperature)
        p = output_graph(at_least_float32(logits), normalizer_grad)
        return -(p * torch.log(log_q.exp() + EPSILON)).sum(dim=1).mean()
