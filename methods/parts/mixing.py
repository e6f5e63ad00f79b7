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
    """Mixture x lam + x[pi] (1 - lam), y, y[pi], lam; one lam ~ Beta(alpha, alpha) and one permutation pi per batch."""
    lam = sample_beta(alpha, generator)
    order = torch.randperm(len(x), generator=generator, device=x.device)
    return torch.lerp(x[order], x, lam.to(x.dtype)), y, y[order], lam


def mixed_targets(y: Tensor, other: Tensor, lam: Tensor, like: Tensor) -> Tensor:
    """Targets lam onehot(y) + (1 - lam) onehot(other): [N, K] for the logits `like`."""
    classes = torch.arange(like.shape[1], device=y.device)  # not F.one_hot, which looks at the values
    dtype = torch.promote_types(like.dtype, torch.float32)
    first, second = ((label[:, None] == classes).to(dtype) for label in (y, other))
    return torch.lerp(second, first, lam.to(dtype))


def mix_near(x: Tensor, target: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images [N, ...] and soft targets [N, K], each mixed with another; its own share is max(lam, 1 - lam).

    A mixed image then belongs to the kind (labelled, unlabelled) of its first image (MixMatch, arXiv 1905.02249).
    """
    lam = sample_beta(alpha, generator)
    lam = torch.maximum(lam, 1 - lam)
    order = torch.randperm(len(x), generator=generator, device=x.device)
    mixed = torch.lerp(x[order], x, lam.to(x.dtype))
    return mixed, torch.lerp(target[order], target, lam.to(target.dtype))


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """Sharpened p_k^(1/T) / sum_j p_j^(1/T) of [N, K], in logarithms: no underflow at small temperatures."""
    tiny = torch.finfo(probabilities.dtype).tiny
    return (probabilities.clamp(min=tiny).log() / temperature).softmax(dim=1)


def one_hot(label: Tensor, like: Tensor) -> Tensor:
    """One-hot vectors [N, K] of the classes [N], K and type those of `like` [M, K]. (F.one_hot would wait.)"""
    return torch.zeros(len(label), like.shape[1], dtype=like.dtype, device=like.device).scatter_(1, label[:, None], 1)
