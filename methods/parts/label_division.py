"""Training images divided into those whose label is kept and the others: the losses of both, and what is recorded."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Method, Stream, Terms
from methods.parts.batch_norm import eval_mode, frozen_statistics
from methods.parts.precision import at_least_float32


@torch.no_grad()
def mean_prediction(network: nn.Module, views: tuple[Tensor, ...], evaluated: bool = False) -> Tensor:
    """Mean softmax [B, K] over the views [B, ...], in train mode without a move of BN's running statistics, or in eval
    mode."""
    with eval_mode(network) if evaluated else frozen_statistics(network):
        p = at_least_float32(network(torch.cat(views))).softmax(dim=1)
    return torch.stack(p.chunk(len(views))).mean(dim=0)


def divided_loss(logits: Tensor, target: Tensor, kept: Tensor, weight: float, balance: float = 1.0) -> Terms:
    """Cross-entropy of the kept images, squared error of the others, and the pull towards equally frequent classes.

    logits, target: [N, K], soft targets; kept: [N] 0 or 1. mean_kept CE, weight mean_others MSE (mean over classes),
    balance sum_c pi_c log(pi_c / mean p_c), pi_c = 1 / K: those of DivideMix (arXiv 2002.07394).
    """
    p, prior = logits.softmax(dim=1), 1 / logits.shape[1]
    squared = ((p - target) ** 2).mean(dim=1)
    return Terms(
        labelled=(kept * F.cross_entropy(logits, target, reduction="none")).sum() / kept.sum().clamp(min=1),
        unlabelled=weight * ((1 - kept) * squared).sum() / (1 - kept).sum().clamp(min=1),
        balance=balance * (prior * (prior / p.mean(dim=0).clamp(min=1e-12)).log()).sum(),
    )


def record_kept(method: Method, labelled: Stream, kept: Tensor) -> None:
    """Record kept_share; label_precision: right labels among the kept ones; label_recall: kept ones among the right.

    kept: [B] 0 or 1. Images without a known truth do not count in the last two.
    """
    known, right = labelled.true >= 0, (labelled.true >= 0) & (labelled.y == labelled.true)
    both = (right * kept).sum()
    method.record(kept_share=kept.mean())
    method.record_ratio(label_precision=(both, (known * kept).sum()), label_recall=(both, right.sum()))
