"""ELR: regularise towards the predictions from before the network memorises wrong labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.memory import latest
from methods.parts.precision import at_least_float32
from methods.ranges import log_uniform, uniform


class ELR(Method):
    """Early-learning regularisation towards each image's own past predictions (Liu et al., 2020, arXiv 2007.00151).

    t_i <- beta t_i + (1 - beta) sg p_i at each visit of image i, from 0, then with the new t
    L = (1/B) sum_i [CE(z_i, y_i) + lambda_t log(1 - <p_i, t_i>)]. The paper's: the loss, beta 0.7 and lambda_t 3
    (CIFAR-10) or 0.9 and 7 (CIFAR-100). The released code's: p within [1e-4, 1 - 1e-4], normalised in t. ELR+, with two
    networks, weight averages and MixUp, is not in here (model_ema evaluates the average). When: noisy labels and enough
    epochs to memorise them; beta counts visits, so with few epochs take a smaller one.
    """

    class Hyper(Method.Hyper):
        beta: float = hyper(0.7, search=uniform(0.5, 0.95), ge=0, lt=1, help="EMA of an image's predictions, per visit")
        lambda_t: float = hyper(3.0, search=log_uniform(0.3, 10.0), ge=0, help="weight of the regularisation")

    views = Views(labelled=("weak",))
    in_flight = ("model_ema", "beta", "lambda_t")

    def build(self) -> None:
        shape = (self.setup.num_train, self.setup.num_classes)
        self.register_buffer("targets", torch.zeros(shape, device=self.setup.device))
        self.targets: Tensor

    def loss(self, batch: Batch) -> Terms:
        labelled = batch.labelled
        logits = at_least_float32(self.model(labelled.weak))
        p = logits.softmax(dim=1).clamp(1e-4, 1 - 1e-4)
        target = self._remember(labelled.index, p.detach() / p.detach().sum(dim=1, keepdim=True)).to(p.dtype)
        regularisation = torch.log(1 - (p * target).sum(dim=1)).mean()
        return Terms(labelled=F.cross_entropy(logits, labelled.y), early=self.hyper.lambda_t * regularisation)

    @torch.no_grad()
    def _remember(self, index: Tensor, p: Tensor) -> Tensor:
        """The new targets [B, K]; an image that is twice in the batch takes its last prediction."""
        target = torch.lerp(p.to(self.targets.dtype), self.targets[index], self.hyper.beta)
        target = target[latest(index)[0]]
        self.targets.index_copy_(0, index, target)
        return target
