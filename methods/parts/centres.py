"""Class centres in feature space, by an exponential moving average (Avg-Clustering of LayerMatch, reading A1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.ema import newest_weight
from methods.parts.precision import at_least_float32, full_precision


class Centres(nn.Module):
    """Centres C [K, D], EMAs of the mean unit feature of each class; n [K], the weight seen, 0 = no centre yet; the
    updates of each class [K].

    The paper's definition was not available to us: form, loss and constants are our reading A1 of LayerMatch
    (docs/layermatch.md, section 3.2). In full precision whatever the step's precision; without host synchronisation;
    deterministic.
    """

    def __init__(self, num_classes: int, dim: int, decay: float, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        self.decay = decay
        dtype = torch.promote_types(dtype, torch.float32)
        self.register_buffer("centres", torch.zeros(num_classes, dim, device=device, dtype=dtype))
        self.register_buffer("seen", torch.zeros(num_classes, device=device, dtype=dtype))
        self.register_buffer("updates", torch.zeros(num_classes, device=device, dtype=dtype))
        self.centres: Tensor
        self.seen: Tensor
        self.updates: Tensor

    @torch.no_grad()
    def gather(self, features: Tensor, label: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sums of unit features per class [K, D], and sums of the weights [K]. label -1 belongs nowhere."""
        with full_precision(features.device):
            unit = F.normalize(at_least_float32(features), dim=1).to(self.centres.dtype)
            classes = torch.arange(len(self.seen), device=label.device)
            member = (label == classes[:, None]) * weight.to(unit.dtype)
            return member @ unit, member.sum(dim=1)

    @torch.no_grad()
    def update(self, sums: Tensor, counts: Tensor) -> None:
        """Set C_k <- C_k + w (mean - C_k), w = (1 - decay) / (1 - decay^t) at the t-th step with members of class k.

        The first mean sets it, and weighs no more than its age gives it. A class without members keeps its centre.
        """
        present = counts > 0
        mean = sums / torch.where(present, counts, 1)[:, None]
        self.updates += present
        weight = newest_weight(self.decay, self.updates.clamp(min=1))
        moved = torch.lerp(self.centres, mean, weight[:, None])
        self.centres.copy_(torch.where(present[:, None], moved, self.centres))
        self.seen += counts

    def attract(self, features: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        """Loss (1/N) sum_i m_i [1 - cos(features_i, sg C_label_i)]. A class without a centre yet attracts nothing."""
        with full_precision(features.device):
            cosine = F.cosine_similarity(at_least_float32(features), self.centres[label], dim=1)
            return (self._exists(label) * mask * (1 - cosine)).mean()

    def proto(self, features: Tensor, label: Tensor, mask: Tensor, temperature: float) -> Tensor:
        """Loss (1/N) sum_i m_i CE(cos(features_i, sg C) / temperature, label_i) over the classes with a centre."""
        with full_precision(features.device):
            unit = F.normalize(at_least_float32(features), dim=1)
            logits = unit @ F.normalize(self.centres, dim=1).T / temperature
            # A finite floor instead of -inf: a label without centre then costs 0 * large, not 0 * inf = NaN.
            logits = logits.masked_fill(self.seen == 0, -1e4)
            return (self._exists(label) * mask * F.cross_entropy(logits, label, reduction="none")).mean()

    def _exists(self, label: Tensor) -> Tensor:
        return (self.seen > 0).to(self.seen.dtype)[label]
