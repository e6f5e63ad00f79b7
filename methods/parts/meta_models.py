"""Meta-models: small networks that weight the loss of a training image, or rectify its logits.

The inputs of a meta-model are constants (losses, features, labels), so the training loss depends on its parameters only
through its output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.precision import at_least_float32


@dataclass(frozen=True)
class MetaInputs:
    """Inputs of a meta-model for the labelled images of a step; none of them carries a gradient.

    losses: [B] cross-entropies. features: [B, D]. target: [B] classes, or [B, K] soft targets.
    """

    losses: Tensor
    features: Tensor
    target: Tensor


class MetaModel(nn.Module):
    """Base class. `output_for` each image, the training `loss` with the outputs, and the `trust` in each label."""

    def output_for(self, seen: MetaInputs, generator: torch.Generator) -> Tensor:
        """Output for each image, differentiable in the meta-model's parameters; `generator` gives random numbers."""
        raise NotImplementedError

    def loss(self, output: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        """Training loss, a scalar, with these outputs."""
        raise NotImplementedError

    def trust(self, output: Tensor, target: Tensor) -> Tensor:
        """Trust [B] in each label, larger = more; comparable within a batch and, roughly, between batches."""
        raise NotImplementedError

    def regulariser(self, seen: MetaInputs) -> Tensor:
        """Term of the training loss that depends on the meta-model alone; 0 by default."""
        return seen.losses.new_zeros(())

    def optimizer(self, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
        """Optimiser of the meta-model, that of the released code. momentum: Nesterov's, of a WNet."""
        raise NotImplementedError


class WNet(MetaModel):
    """V_phi: per-sample loss [N] -> (0, 1) [N]; Linear(1, 100), ReLU, Linear(100, 1), sigmoid (MW-Net, 1902.07379).

    L = sum_i w_i c_i with w = s / sum s, or with normalise "none" L = (1/B) sum_i s_i c_i (docs/clid_mu.md,
    sections 2.2 and 7).
    PyTorch's default initialisation, drawn from `seed` and not from the global generator.
    """

    def __init__(self, seed: int, hidden: int = 100, normalise: Literal["sum", "none"] = "sum") -> None:
        super().__init__()
        self.normalise = normalise
        self.first = cast(nn.Linear, nn.utils.skip_init(nn.Linear, 1, hidden))
        self.last = cast(nn.Linear, nn.utils.skip_init(nn.Linear, hidden, 1))
        generator = torch.Generator().manual_seed(seed)
        for layer, inputs in ((self.first, 1), (self.last, hidden)):
            bound = 1 / math.sqrt(inputs)
            for parameter in layer.parameters():
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, losses: Tensor) -> Tensor:
        losses = losses.to(self.first.weight.dtype)
        return self.last(self.first(losses[:, None]).relu()).sigmoid()[:, 0]

    def output_for(self, seen: MetaInputs, generator: torch.Generator) -> Tensor:
        scores = self(seen.losses)
        return sum_normalised(scores) if self.normalise == "sum" else scores / len(scores)

    def loss(self, output: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        return (output * F.cross_entropy(logits, target, reduction="none")).sum()

    def trust(self, output: Tensor, target: Tensor) -> Tensor:
        """Weight in units of 1 / B."""
        return output * len(output)

    def optimizer(self, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=lr, momentum=momentum, nesterov=momentum > 0, weight_decay=5e-4)


class VRI(MetaModel):
    """Variational rectification: r_i = sigmoid(mu_i + exp(s_i / 2) eps), L = (1/B) sum_i CE(r_i * z_i, y_i).

    (mu_i, s_i): heads on a trunk D + 64 -> 1024 -> 512 -> 512 with tanh, of the features and a 64-d embedding of the
    label. The regulariser R = mean[s_p - s_q + (exp(2 s_q) + (mu_q - mu_p)^2) / (2 exp(2 s_p)) - 1/2], p with zeros in
    place of the embedding, reads exp(s) as the deviation where the sampler has exp(s / 2); it depends on phi alone, so
    it moves neither theta' nor the meta-gradient: inert, kept because it is released (docs/clid_mu.md, section 2.3).
    Xavier-normal weights, zero biases; of the embedding, unit normal (PyTorch's default: our reading). A soft target is
    embedded as the mean of its classes' embeddings (the release has a linear map there: the same up to its bias).
    """

    def __init__(
        self, seed: int, num_features: int, num_classes: int, embedding: int = 64, widths: tuple[int, ...] = (1024, 512)
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Parameter(torch.randn(num_classes, embedding, generator=generator))
        sizes = [num_features + embedding, *widths, widths[-1]]
        self.trunk = nn.ModuleList(_xavier(n, m, generator) for n, m in zip(sizes[:-1], sizes[1:], strict=True))
        self.mean = _xavier(sizes[-1], num_classes, generator)
        self.log_variance = _xavier(sizes[-1], num_classes, generator)

    def forward(self, features: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Mean mu and logarithm of the variance s, each [B, K]."""
        hidden = torch.cat([features.to(embedded.dtype), embedded], dim=1)
        for layer in self.trunk:
            hidden = layer(hidden).tanh()
        return self.mean(hidden), self.log_variance(hidden)

    def embed(self, target: Tensor) -> Tensor:
        return self.embedding[target] if target.ndim == 1 else target.to(self.embedding.dtype) @ self.embedding

    def output_for(self, seen: MetaInputs, generator: torch.Generator) -> Tensor:
        mean, log_variance = self(seen.features, self.embed(seen.target))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return (mean + (log_variance / 2).exp() * noise).sigmoid()

    def loss(self, output: Tensor, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output * logits, target)

    def trust(self, output: Tensor, target: Tensor) -> Tensor:
        """Rectifier of the label's own logit."""
        if target.ndim == 1:
            return output.gather(1, target[:, None])[:, 0]
        return (output * target).sum(dim=1)

    def regulariser(self, seen: MetaInputs) -> Tensor:
        embedded = self.embed(seen.target)
        mean_q, s_q = self(seen.features, embedded)
        mean_p, s_p = self(seen.features, torch.zeros_like(embedded))
        spread = ((2 * s_q).exp() + (mean_q - mean_p) ** 2) / (2 * (2 * s_p).exp())
        return (s_p - s_q + spread - 0.5).mean()

    def optimizer(self, lr: float, momentum: float = 0.0) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=lr, weight_decay=5e-4)


def _xavier(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = cast(nn.Linear, nn.utils.skip_init(nn.Linear, inputs, outputs))
    nn.init.xavier_normal_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def sum_normalised(scores: Tensor) -> Tensor:
    """Weights w_i = s_i / sum_k s_k, with the gradient through the sum; w = s where the sum is 0.

    (docs/clid_mu.md, section 2.2)
    """
    total = scores.sum()
    return scores / torch.where(total == 0, torch.ones_like(total), total)


def meta_inputs(logits: Tensor, features: Tensor, target: Tensor) -> MetaInputs:
    """Inputs of a meta-model from one step, in full precision."""
    logits, features = at_least_float32(logits.detach()), at_least_float32(features.detach())
    return MetaInputs(F.cross_entropy(logits, target, reduction="none"), features, target)
