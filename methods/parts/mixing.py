"""Mixing of images and of their labels."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_beta(alpha: float, generator: torch.Generator) -> Tensor:
    """One draw of Beta(alpha, alpha), a float64 scalar on the generator's device, without waiting for it."""
    # float64: at small alpha both gamma draws can underflow in float32, and 0 / 0 is NaN.
    concentration = torch.full((2,), alpha, dtype=torch.float64, device=generator.device)
    draws = torch._standard_gamma(concentration, generator=generator)
    return draws[0] / draws.sum()


def mix(x: Tensor, y: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x lam + x[pi] (1 - lam), y, y[pi], lam; one lam ~ Beta(alpha, alpha) and one permutation pi per batch."""
    lam = sample_beta(alpha, generator)
    order = torch.randperm(len(x), generator=generator, device=x.device)
    return torch.lerp(x[order], x, lam.to(x.dtype)), y, y[order], lam
