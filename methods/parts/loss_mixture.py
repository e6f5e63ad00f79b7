"""Two-component Gaussian mixture of the losses: the probability that an image is labelled right."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.parts.precision import at_least_float32

ROUNDS = 60
FLOOR = 5e-4  # added to each variance, as in DivideMix's code (losses are scaled to [0, 1])


@torch.no_grad()
def clean_probability(losses: Tensor, rounds: int = ROUNDS, tolerance: float = 0.0) -> Tensor:
    """Posterior [N] of the component of smaller mean, for losses [N]; a negative one (not seen yet) gives 1.

    Expectation-maximisation on losses scaled to [0, 1], begun by 2-means from the extremes; a fixed number of rounds on
    the device, so that nothing waits, of which those do nothing that come after one that changed the mean
    log-likelihood by less than `tolerance`. So does scikit-learn's GaussianMixture, which DivideMix's code stops after
    10 rounds or at 1e-2: long before convergence where the two kinds overlap. All losses equal: 1.
    """
    seen = losses >= 0
    x, weight = scaled(losses), seen.to(at_least_float32(losses).dtype)
    mean = torch.linspace(0, 1, 2, dtype=x.dtype, device=x.device)
    share = _nearest(x, mean)
    for _ in range(ROUNDS // 3):
        mean = _means(x, share * weight)
        share = _nearest(x, mean)
    fitted, before, ended = _fit(x, share * weight), x.new_full((), -torch.inf), torch.zeros_like(seen[0])
    for _ in range(rounds):
        share, log_likelihood = _posterior(x, *fitted)
        likelihood = (log_likelihood * weight).sum() / weight.sum().clamp(min=1)
        new = _fit(x, share * weight)
        fitted = tuple(torch.where(ended, old, value) for old, value in zip(fitted, new, strict=True))
        ended = ended | ((likelihood - before).abs() < tolerance)
        before = likelihood
    mean, share = fitted[0], _posterior(x, *fitted)[0]
    return torch.where(seen, share.gather(0, mean.argmin().expand(1, len(x)))[0], 1.0)


@torch.no_grad()
def scaled(losses: Tensor) -> Tensor:
    """Losses [N] scaled to [0, 1] over those that were seen; the others (negative) get what they get."""
    x, seen = at_least_float32(losses), losses >= 0
    lowest, highest = x.masked_fill(~seen, torch.inf).amin(), x.masked_fill(~seen, -torch.inf).amax()
    return (x - lowest) / (highest - lowest).clamp(min=torch.finfo(x.dtype).tiny)


def _nearest(x: Tensor, mean: Tensor) -> Tensor:
    lower = (x - mean[0]).abs() <= (x - mean[1]).abs()
    return torch.stack([lower, ~lower]).to(x.dtype)


def _means(x: Tensor, share: Tensor) -> Tensor:
    return (share * x).sum(dim=1) / share.sum(dim=1).clamp(min=torch.finfo(x.dtype).eps)


def _fit(x: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and prior [2] of each component, from its share [2, N] of each loss."""
    mean, total = _means(x, share), share.sum(dim=1).clamp(min=torch.finfo(x.dtype).eps)
    variance = (share * (x - mean[:, None]) ** 2).sum(dim=1) / total + FLOOR
    return mean, variance, total / total.sum()


def _posterior(x: Tensor, mean: Tensor, variance: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """Share [2, N] of each loss that belongs to each component, and its log-likelihood [N]."""
    log_density = -0.5 * ((x - mean[:, None]) ** 2 / variance[:, None] + (2 * torch.pi * variance).log()[:, None])
    joint = log_density + prior.log()[:, None]
    return joint.softmax(dim=0), joint.logsumexp(dim=0)
