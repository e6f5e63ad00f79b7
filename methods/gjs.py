"""GJS: the generalised Jensen-Shannon divergence between a label and the predictions for two views."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.mixing import one_hot
from methods.parts.precision import at_least_float32
from methods.ranges import uniform


class GJS(Method):
    """Generalised Jensen-Shannon loss, robust and consistent (Englesson & Azizpour, 2021, arXiv 2105.04522).

    p^1, p^2: predictions for two views, pi = (label_weight, (1 - label_weight) / 2 twice), m = pi_1 onehot(y) + pi_2
    p^1 + pi_3 p^2, L = (1/B) sum_i sum_k pi_k KL(d_k, m) / Z over d = (onehot(y), p^1, p^2), Z = -(1 - pi_1) log(1 -
    pi_1). num_views 1: the same with one view, pi = (label_weight, 1 - label_weight): the Jensen-Shannon loss. The
    paper's: both losses and Z. label_weight -> 0 behaves as cross-entropy, -> 1 as mean absolute error; theirs on
    CIFAR-10 with symmetric noise: 0.3 at 20 %, 0.9 at 40 %, 0.1 at 60 %; strong views. When: noisy labels; it asks for
    agreement of two views at once.
    """

    class Hyper(Method.Hyper):
        label_weight: float = hyper(0.5, search=uniform(0.1, 0.9), gt=0, lt=1, help="pi_1, the weight of the label")
        view: Literal["weak", "strong"] = hyper(
            "strong", help="augmentation of both views; published: strong, of one operation"
        )
        num_views: Literal[1, 2] = hyper(2, help="views per image: 2 = GJS, 1 = JS")

    views = Views(labelled=("strong", "strong"))
    accumulates = True
    in_flight = ("model_ema", "label_weight")

    @classmethod
    def views_for(cls, hyper: Any) -> Views:
        return Views(labelled=(hyper.view,) * hyper.num_views)

    def loss(self, batch: Batch) -> Terms:
        views = batch.labelled.views
        p = at_least_float32(self.model(torch.cat(views))).softmax(dim=1).chunk(len(views))
        label, share = self.hyper.label_weight, (1 - self.hyper.label_weight) / len(views)
        y = one_hot(batch.labelled.y, p[0])
        mean = label * y + share * torch.stack(p).sum(dim=0)
        divergence = label * _kl(y, mean) + share * torch.stack([_kl(each, mean) for each in p]).sum(dim=0)
        return Terms(labelled=divergence.mean() / (-(1 - label) * math.log(1 - label)))


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p, q) [B] of distributions [B, K]; 0 log 0 is 0."""
    tiny = torch.finfo(p.dtype).tiny
    return (p * (p.clamp(min=tiny).log() - q.clamp(min=tiny).log())).sum(dim=1)
