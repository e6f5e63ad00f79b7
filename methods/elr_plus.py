"""ELR+: early-learning regularisation of two networks by each other's averaged weights, with MixUp."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.batch_norm import batch_statistics
from methods.parts.memory import latest
from methods.parts.mixing import mixed_targets, sample_beta
from methods.parts.network_pair import NetworkPair
from methods.parts.precision import at_least_float32
from methods.parts.second_network import SecondNetwork
from methods.ranges import log_uniform, uniform


class ELRPlus(Method):
    """ELR with two networks, each regularised by the other's weight average (Liu et al., 2020, arXiv 2007.00151).

    Network k, q_i the prediction for image i by the averaged weights of the other network: t_i <- beta t_i + (1 - beta)
    q_i at each visit, from 0. x~, y~, t~: images, labels and targets mixed with one lam = max(l, 1 - l), l ~
    Beta(alpha, alpha), and one permutation per network; p~ = softmax z_k(x~), L_k = (1/B) sum_i [CE(z_k(x~_i), y~_i) +
    w(t) lambda_t log(1 - <p~_i, t~_i>)], w(t) = exp(-5 (1 - min(1, t / (ramp N)))^2). The released code's: beta 0.7,
    lambda_t 3, alpha 1, no ramp, average 0.997, ramped up (CIFAR-10); beta 0.9, lambda_t 7, ramp 0.45, 40,000 of 88,000
    steps (CIFAR-100, without its division of labels by targets); p~ within [1e-4, 1 - 1e-4]; the averaged networks use
    batch statistics. Ours: both networks step on the same images. Evaluated: the mean logits of the two averaged
    networks (the release's: of the networks). When: as ELR, at the price of three plain steps.
    """

    class Hyper(Method.Hyper):
        model_ema: float | None = hyper(
            0.997, search=uniform(0.9, 0.999), ge=0, lt=1, help="EMA of the weights, the teachers; none as elsewhere"
        )
        beta: float = hyper(0.7, search=uniform(0.5, 0.95), ge=0, lt=1, help="EMA of an image's predictions, per visit")
        lambda_t: float = hyper(3.0, search=log_uniform(0.3, 10.0), ge=0, help="weight of the regularisation")
        alpha: float = hyper(1.0, search=log_uniform(0.1, 8.0), gt=0, help="Beta(alpha, alpha) of the mixing weight")
        ramp: float = hyper(
            0.0, search=uniform(0.0, 0.6), ge=0, le=1, help="part of the steps that ramps lambda_t up; 0 = none"
        )

    views = Views(labelled=("weak",))
    in_flight = ("model_ema", "beta", "lambda_t", "alpha", "ramp")

    def build(self) -> None:
        self.second = SecondNetwork(self.model, self.setup, self.hyper.model_ema)
        shape = (2, self.setup.num_train, self.setup.num_classes)
        self.register_buffer("targets", torch.zeros(shape, device=self.setup.device))
        self.targets: Tensor

    @property
    def eval_model(self) -> nn.Module:
        return NetworkPair(self.ema.module, self.second.ema.module)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        pairs = ((self.model, self.second.ema.module), (self.second.model, self.ema.module))
        with self.autocast():
            parts = [self._loss(k, *pair, batch) for k, pair in enumerate(pairs)]
        self.descend(parts[0].total(), optimizer)
        self.second.descend(parts[1].total(), optimizer, self.setup.grad_clip)
        return Terms({name: (parts[0][name] + parts[1][name]) / 2 for name in parts[0]})

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.second.update_average()

    def _loss(self, k: int, network: nn.Module, teacher: nn.Module, batch: Batch) -> Terms:
        x, y = batch.labelled.weak, batch.labelled.y
        lam = sample_beta(self.hyper.alpha, self.generator)
        lam = torch.maximum(lam, 1 - lam)
        order = torch.randperm(len(y), generator=self.generator, device=y.device)
        logits = at_least_float32(network(torch.lerp(x[order], x, lam.to(x.dtype))))
        target = self._remember(k, teacher, x, batch.labelled.index).to(logits.dtype)
        target = torch.lerp(target[order], target, lam.to(target.dtype))
        p = logits.softmax(dim=1).clamp(1e-4, 1 - 1e-4)
        regularisation = torch.log(1 - (p * target).sum(dim=1)).mean()
        weight = self.hyper.lambda_t * math.exp(-5 * (1 - self.ramp_up(batch.step, self.hyper.ramp)) ** 2)
        mixed = F.cross_entropy(logits, mixed_targets(y, y[order], lam, logits))
        return Terms(labelled=mixed, early=weight * regularisation)

    @torch.no_grad()
    def _remember(self, k: int, teacher: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        """The new targets [B, K] of network k; an image that is twice in the batch takes its last prediction."""
        with batch_statistics(teacher):
            q = at_least_float32(teacher(x)).softmax(dim=1).to(self.targets.dtype)
        target = torch.lerp(q, self.targets[k][index], self.hyper.beta)[latest(index)[0]]
        self.targets[k].index_copy_(0, index, target)
        return target
