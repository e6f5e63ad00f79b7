"""SOP: a sparse, over-parameterised term per image takes up what is wrong in its label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.mixing import one_hot
from methods.parts.precision import at_least_float32
from methods.ranges import log_uniform


class SOP(Method):
    """Cross-entropy with a noise term per image that is learnt beside the network (Liu et al., 2022, arXiv 2202.14026).

    s_i = u_i^2 y_i - v_i^2 (1 - y_i), each part within [0, 1], y one-hot; q_i = clip(p_i + u_i^2 y_i - sg v_i^2 (1 -
    y_i), eps), divided by its sum; L = (1/B) sum_i [-log q_i,y + |onehot(argmax z_i) + s_i - y_i|^2]. Plain SGD on u
    [images] and v [images, K] from N(0, 1e-8), whose product form keeps them sparse. The paper's: s and both terms, the
    first of which moves u, the second v. The released code's: the second moves u, too; eps 1e-4, lr_u 1 and lr_v 10
    (CIFAR-100; 0.1 and 100 under asymmetric noise), not scheduled. SOP+ (consistency, class balance) is not in here.
    When: noisy labels and at least some tens of epochs: u grows by a factor per visit; with few epochs or large batches
    take larger lr_u.
    """

    class Hyper(Method.Hyper):
        lr_u: float = hyper(1.0, search=log_uniform(0.1, 100.0), ge=0, help="rate of u, which adds to the given label")
        lr_v: float = hyper(
            10.0, search=log_uniform(0.1, 1000.0), ge=0, help="rate of v, which takes from other classes"
        )

    views = Views(labelled=("weak",))
    in_flight = ("model_ema", "lr_u", "lr_v")

    def build(self) -> None:
        setup, options = self.setup, {"generator": self.generator, "device": self.setup.device}
        self.register_buffer("u", 1e-8 * torch.randn(setup.num_train, 1, **options))
        self.register_buffer("v", 1e-8 * torch.randn(setup.num_train, setup.num_classes, **options))
        self.u: Tensor
        self.v: Tensor

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        index = batch.labelled.index
        u, v = self.u[index].requires_grad_(), self.v[index].requires_grad_()
        with self.autocast():
            logits = at_least_float32(self.model(batch.labelled.weak))
        terms = self.terms(logits, batch.labelled.y, u, v)
        self.descend(terms, optimizer)
        for memory, rows, rate in ((self.u, u, self.hyper.lr_u), (self.v, v, self.hyper.lr_v)):
            assert rows.grad is not None
            memory.index_add_(0, index, rows.grad, alpha=-rate)  # an image that is twice in the batch moves by both
        return terms

    def terms(self, logits: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Terms:
        """The two losses of logits [B, K], labels [B], u [B, 1] and v [B, K]."""
        target = one_hot(y, logits)
        added, taken = (u**2 * target).clamp(0, 1), (v**2 * (1 - target)).clamp(0, 1)
        self.record(noise_term=added.detach().sum(dim=1).mean())
        q = (logits.softmax(dim=1) + added - taken.detach()).clamp(min=1e-4)
        q = (q / q.sum(dim=1, keepdim=True)).clamp(min=1e-4, max=1)
        hard = one_hot(logits.detach().argmax(dim=1), logits)
        squared = ((hard + added - taken - target) ** 2).sum(dim=1).mean()
        return Terms(labelled=F.nll_loss(q.log(), y), noise=squared)
