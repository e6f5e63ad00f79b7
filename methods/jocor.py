"""JoCoR: two networks that agree, trained together on the images of small joint loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Terms, hyper
from methods.co_teaching import CoTeaching
from methods.parts.precision import at_least_float32
from methods.ranges import uniform


class JoCoR(CoTeaching):
    """Two networks with one joint loss, on the images where it is small (Wei et al., 2020, arXiv 2003.02752).

    l_i = (1 - c) [CE(z_1,i, y_i) + CE(z_2,i, y_i)] + c [KL(p_1,i, p_2,i) + KL(p_2,i, p_1,i)], c = co_lambda; D: the k =
    floor(R(t) B) images of smallest l, R(t) as in co_teaching; L = (1/k) sum_D l_i moves both networks. The paper's:
    the joint loss and the selection; with its code its authors say that c 0.5 to 0.9 is best, on CIFAR-10 0.9 (0.65 at
    80 % noise). The released code's: c 0.1 by default, which short runs need (digits, 40 % wrong, 400 steps, one seed:
    0.93, and 0.65 at 0.9). The ramp: ten of 200 epochs, moved here in each step. Ours: evaluated is the averaged first
    network; the paper reports each alone. When: as co_teaching. Costs two plain steps.
    """

    class Hyper(CoTeaching.Hyper):
        co_lambda: float = hyper(0.1, search=uniform(0.05, 0.95), ge=0, le=1, help="c: weight of the agreement")

    in_flight = ("model_ema", "forget_rate", "co_lambda")

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        x, y = batch.labelled.weak, batch.labelled.y
        with self.autocast():
            z = [at_least_float32(network(x)) for network in (self.model, self.second.model)]
        # The other's logits are constants in each: the gradients to the two networks are those of one joint loss.
        first, second = self._joint(z[0], z[1].detach(), y), self._joint(z[0].detach(), z[1], y)
        easy = first.detach().topk(self.kept(batch.step, len(y)), largest=False).indices
        self._record(batch, easy)
        terms = Terms(labelled=first.gather(0, easy).mean())
        self.descend(terms, optimizer)
        self.second.descend(second.gather(0, easy).mean(), optimizer, self.setup.grad_clip)
        return terms

    def _joint(self, first: Tensor, second: Tensor, y: Tensor) -> Tensor:
        """Joint loss [B] of the logits [B, K] of the two networks."""
        log_p, log_q = first.log_softmax(dim=1), second.log_softmax(dim=1)
        supervised = F.nll_loss(log_p, y, reduction="none") + F.nll_loss(log_q, y, reduction="none")
        agreement = ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(dim=1)  # the two divergences added
        return (1 - self.hyper.co_lambda) * supervised + self.hyper.co_lambda * agreement
