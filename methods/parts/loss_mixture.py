"""Two-component Gaussian mixture of the losses: the probability that an image is labelled right."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.parts.precision import at_least_float32

ROUNDS = 60
FLOOR = 5e-4  # added to each variance, as in DivideMix's code (losses are scaled to [0, 1])


@torch.no_grad()
def clean_probability(losses: Tensor) -> Tensor:
    """Posterior [N] of the component of smaller mean, for losses [N]; a negative one (not seen yet) gives 1.

    Expectation-maximisation on losses scaled to [0, 1], begun by 2-means from the extremes; a fixed number of rounds on
    the device, so that nothing waits. scikit-learn's GaussianMixture, which DivideMix stops after ten rounds, ends
    in the same place where the two kinds lie apart. All losses equal: 1.
    """
    seen = losses >= 0
    x = at_least_float32(losses)
    lowest, highest = x.masked_fill(~seen, torch.inf).amin(), x.masked_fill(~seen, -torch.inf).amax()
    x = (x - lowest) / (highest - lowest).clamp(min=torch.finfo(x.dtype).tiny)
    weight = seen.to(x.dtype)
    mean = torch.linspace(0, 1, 2, dtype=x.dtype, device=x.device)
    share = _nearest(x, mean)
    for _ in range(ROUNDS // 3):
        mean = _means(x, share * weight)
        share = _nearest(x, mean)
    for _ in range(ROUNDS):
        mean, variance, prior = _fit(x, share * weight)
        share = _posterior(x, mean, variance, prior)
    return torch.where(seen, share.gather(0, mean.argmin().expand(1, len(x)))[0], 1.0)


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


def _posterior(x: Tensor, mean: Tensor, variance: Tensor, prior: Tensor) -> Tensor:
    log_density = -0.5 * ((x - mean[:, None]) ** 2 / variance[:, None] + variance.log()[:, None])
    return (log_density + prior.log()[:, None]).softmax(dim=0)
