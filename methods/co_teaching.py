"""Co-teaching: two networks, each trained on the images of small loss under the other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.second_network import SecondNetwork
from methods.ranges import uniform


class CoTeaching(Method):
    """Two networks exchange the images of smallest loss in a batch (Han et al., 2018, arXiv 1804.06872).

    R(t) = 1 - forget_rate min(1, t / (forget_ramp N)), k = floor(R(t) B); D_1, D_2: the k images of smallest CE under
    each network; network 1 steps on the mean CE over D_2, network 2 on that over D_1. The paper's: the exchange and
    R(t), with the noise rate (taken as known) as forget_rate and a ramp of ten of 200 epochs, moved here in each step.
    Ours: evaluated is the averaged first network; the paper reports each alone. When: much noise whose rate is roughly
    known. Costs two plain steps.
    """

    class Hyper(Method.Hyper):
        forget_rate: float = hyper(
            0.2, search=uniform(0.05, 0.6), ge=0, lt=1, help="share of a batch that is left out: the noise rate"
        )
        forget_ramp: float = hyper(
            0.05, search=uniform(0.02, 0.3), ge=0, le=1, help="part of the steps that ramps it up"
        )

    views = Views(labelled=("weak",))
    in_flight = ("model_ema", "forget_rate")

    def build(self) -> None:
        self.second = SecondNetwork(self.model, self.setup, self.hyper.model_ema)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        x, y = batch.labelled.weak, batch.labelled.y
        with self.autocast():
            losses = [F.cross_entropy(network(x), y, reduction="none") for network in (self.model, self.second.model)]
        keep = self.kept(batch.step, len(y))
        easy = [each.detach().topk(keep, largest=False).indices for each in losses]
        self._record(batch, easy[0])
        terms = Terms(first=losses[0].gather(0, easy[1]).mean(), second=losses[1].gather(0, easy[0]).mean())
        self.descend(terms["first"], optimizer)
        self.second.descend(terms["second"], optimizer, self.setup.grad_clip)
        return terms

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.second.update_average()

    def kept(self, step: int, count: int) -> int:
        """Number k of `count` images that are kept in this step; known on the host, so that shapes are."""
        rate = self.hyper.forget_rate * self.ramp_up(step, self.hyper.forget_ramp)
        return max(1, int((1 - rate) * count))

    def _record(self, batch: Batch, easy: Tensor) -> None:
        """Record label_precision, the share of right labels among the kept images, and label_accuracy, among all.

        Images without a known truth do not count.
        """
        y, true = batch.labelled.y, batch.labelled.true
        known, right = true >= 0, (true >= 0) & (y == true)
        self.record_ratio(
            label_precision=(right.gather(0, easy).sum(), known.gather(0, easy).sum()),
            label_accuracy=(right.sum(), known.sum()),
        )
