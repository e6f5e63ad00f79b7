"""UNICON's selection: divergence of labels from predictions, and as many clean labels of each class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.parts.mixing import one_hot
from methods.parts.ranks import ranks_within


@torch.no_grad()
def divergence(p: Tensor, y: Tensor) -> Tensor:
    """Jensen-Shannon divergence [N], in natural logarithms, of predictions p [N, K] from one-hot labels y [N].

    JSD(onehot y, p) = H((onehot y + p) / 2) - H(p) / 2.
    """
    mean = (p + one_hot(y, p)) / 2
    return (torch.special.entr(mean).sum(dim=1) - torch.special.entr(p).sum(dim=1) / 2).clamp(min=0)


@torch.no_grad()
def evenly_clean(d: Tensor, given: Tensor, num_classes: int, cutoff: float, filter: float) -> Tensor:
    """Whether each label is taken for clean: the same number of each class, those of least divergence.

    d: [N], -1 where an image was not seen, whose label is clean. given: [N] labels, -1 likewise. The number is that of
    all d below their mean m, or m - (m - least) / filter where m > cutoff, divided by the number of classes.
    """
    seen = d >= 0
    count = seen.sum().clamp(min=1)
    mean, least = d.clamp(min=0).sum() / count, d.masked_fill(~seen, math.inf).amin()
    limit = torch.where(mean > cutoff, mean - (mean - least) / filter, mean)
    each = ((d < limit) & seen).sum() // num_classes
    counts = (given[:, None] == torch.arange(num_classes, device=d.device)).sum(dim=0)
    return (ranks_within(-d, given, counts) < each) | ~seen
