"""SimMatch's similarities to the labelled images: smoothed targets, and the loss that matches two views."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from methods.parts.mixing import one_hot


def match(p: Tensor, teacher: Tensor, student: Tensor, bank_y: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Targets q [M, K] and the loss of the strong views' similarities (arXiv 2203.06915).

    p: [M, K] aligned predictions of the weak views. teacher, student: [M, N] cosines of weak and strong views with the
    bank, over the temperature; a gradient goes to the second alone where the first is made without one. bank_y: [N]
    labels of the bank, -1 = not seen yet, which counts for nothing.
    """
    seen, y = bank_y >= 0, bank_y.clamp(min=0)
    s, log_student = (z.masked_fill(~seen, -math.inf).log_softmax(dim=1) for z in (teacher, student))
    s = s.exp()
    weighted = s * p[:, y]
    weighted = weighted / weighted.sum(dim=1, keepdim=True).clamp(min=torch.finfo(p.dtype).tiny)
    q = smoothing * p + (1 - smoothing) * (s @ one_hot(y, p))
    return q, -(weighted * log_student.masked_fill(~seen, 0)).sum(dim=1).mean()
