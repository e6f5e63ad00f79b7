"""UNICON: class-balanced selection of clean labels, MixMatch on both parts, contrastive features of the noisy part."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Method, Stream, Terms, Views, hyper
from methods.parts.batch_norm import frozen_statistics
from methods.parts.label_division import divided_loss, mean_prediction, record_kept
from methods.parts.memory import latest
from methods.parts.mixing import mix_near, one_hot, sharpen
from methods.parts.network_pair import NetworkPair
from methods.parts.precision import at_least_float32
from methods.parts.projection_heads import projection_heads
from methods.parts.second_network import SecondNetwork
from methods.ranges import log_uniform, uniform
from methods.unicon.contrastive_loss import contrast
from methods.unicon.even_selection import divergence, evenly_clean


class Unicon(Method):
    """Divide labels evenly over the classes by a Jensen-Shannon divergence (Karim et al., 2022, arXiv 2203.14542).

    Warm-up: L = CE. d_i = JSD(onehot y_i, (p_1,i + p_2,i) / 2), p_k the prediction of network k. Once per epoch, m the
    mean and least the smallest d: c = m, or m - (m - least) / filter where m > cutoff; R = share of d_i < c; clean (X):
    of each class the R N / K images of smallest d; noisy (U): the others. g_k the mean prediction of two weak views,
    w_i = 1 where d_i < 1/2, else 1 - d_i: t_i = sharpen(w_i y_i + (1 - w_i) g_k,i) in X, sharpen((g_1,i + g_2,i) / 2)
    in U. Two strong views mixed as in MixMatch with t: L_k = mean_X CE + lambda_u w(t) mean_U MSE + sum_c pi_c log(pi_c
    / mean p_c) + lambda_c SimCLR(U), of the strong views through a linear head of 128 with batch normalisation,
    temperature 0.05. The released code's: losses, targets, selection and the numbers, but a warm-up of 10 of 350 epochs
    (its branch for m > cutoff = 0.7, which natural logarithms cannot reach, is the paper's). Ours: as in dividemix,
    batches of all images divided by masks, d of the last visit from the two weak views, both networks on the same
    batch; no penalty in warm-up. When: much noise, also over many classes, and time: about six plain steps of twice the
    batch.
    """

    class Hyper(Method.Hyper):
        warmup: float = hyper(
            0.1, search=uniform(0.03, 0.3), ge=0, le=1, help="part of the steps on all labels; an epoch at least"
        )
        cutoff: float = hyper(0.7, search=uniform(0.2, 0.7), ge=0, le=1, help="mean divergence above which fewer count")
        filter: float = hyper(5.0, search=uniform(2.0, 10.0), gt=1, help="above the cutoff: larger = more count")
        temperature: float = hyper(0.5, search=uniform(0.25, 1.0), gt=0, help="sharpens the targets; 1 = not at all")
        alpha: float = hyper(4.0, search=log_uniform(0.5, 8.0), gt=0, help="Beta(alpha, alpha) of the mixing weight")
        lambda_u: float = hyper(
            30.0, search=log_uniform(1.0, 150.0), ge=0, help="weight of the squared error on part U"
        )
        lambda_c: float = hyper(0.025, search=log_uniform(0.005, 0.5), ge=0, help="weight of the contrastive loss")
        ramp: float = hyper(0.05, search=uniform(0.0, 0.3), ge=0, le=1, help="part of the steps that ramps lambda_u up")

    views = Views(labelled=("weak", "weak", "strong", "strong"))
    in_flight = ("model_ema", "temperature", "alpha", "lambda_u", "lambda_c")

    def build(self) -> None:
        setup = self.setup
        self.second = SecondNetwork(self.model, setup, self.hyper.model_ema)
        self.projections = projection_heads(self.model, setup, two_heads)
        self.projection_optimizer = setup.make_optimizer(self.projections)
        self.register_buffer("divergence", torch.full((setup.num_train,), -1.0, device=setup.device))  # -1: not seen
        self.register_buffer("given", torch.full((setup.num_train,), -1, device=setup.device))
        self.register_buffer("clean", torch.ones(setup.num_train, device=setup.device))
        self.divergence: Tensor
        self.given: Tensor
        self.clean: Tensor

    @property
    def eval_model(self) -> nn.Module:
        return NetworkPair(self.ema.module, self.second.ema.module)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        labelled, settings = batch.labelled, self.hyper
        epoch = math.ceil(self.setup.num_labelled / len(labelled.y))
        start = max(epoch, round(settings.warmup * self.setup.steps))
        with self.autocast():
            guesses = [mean_prediction(network, labelled.views[:2]) for network in (self.model, self.second.model)]
            self._remember(labelled, guesses)
            if batch.step < start:
                networks = (self.model, self.second.model)
                parts = [Terms(labelled=F.cross_entropy(net(labelled.views[0]), labelled.y)) for net in networks]
            else:
                if (batch.step - start) % epoch == 0:
                    self.clean.copy_(self.divide())
                weight = settings.lambda_u * self.ramp_up(batch.step - start, settings.ramp)
                parts = [self._loss(k, labelled, guesses, weight) for k in range(2)]
        self.projection_optimizer.zero_grad(set_to_none=True)
        self.descend(parts[0].total(), optimizer)
        self.second.descend(parts[1].total(), optimizer, self.setup.grad_clip)
        if batch.step >= start:
            for group, scheduled in zip(self.projection_optimizer.param_groups, optimizer.param_groups, strict=False):
                group["lr"] = scheduled["lr"]
            self.projection_optimizer.step()
        return Terms({name: (parts[0][name] + parts[1][name]) / 2 for name in parts[0]})

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.second.update_average()

    def divide(self) -> Tensor:
        """The clean labels [num_train], as many of each class; those of images that were not seen are clean."""
        settings, classes = self.hyper, self.setup.num_classes
        return evenly_clean(self.divergence, self.given, classes, settings.cutoff, settings.filter).to(self.clean.dtype)

    def _loss(self, k: int, labelled: Stream, guesses: list[Tensor], weight: float) -> Terms:
        network, y = (self.model, self.second.model)[k], one_hot(labelled.y, guesses[k])
        clean, d = self.clean[labelled.index].to(y.dtype), self.divergence[labelled.index, None].to(y.dtype)
        w = torch.where(d < 0.5, 1, 1 - d)
        target = torch.where(clean[:, None] > 0, w * y + (1 - w) * guesses[k], (guesses[0] + guesses[1]) / 2)
        target = sharpen(target, self.hyper.temperature)
        strong = torch.cat(labelled.views[2:])
        x, mixed = mix_near(strong, torch.cat([target, target]), self.hyper.alpha, self.generator)
        kept = torch.cat([clean, clean])
        terms = divided_loss(at_least_float32(network(x)), mixed, kept, weight)
        with frozen_statistics(network):
            features, _ = network(strong, with_features=True)
        record_kept(self, labelled, clean)
        terms["contrast"] = self.hyper.lambda_c * contrast(self.projections[k](features), 1 - kept)
        return terms

    @torch.no_grad()
    def _remember(self, labelled: Stream, guesses: list[Tensor]) -> None:
        d = divergence((guesses[0] + guesses[1]) / 2, labelled.y)
        self.divergence.index_copy_(0, labelled.index, d[latest(labelled.index)[0]].to(self.divergence.dtype))
        self.given.index_copy_(0, labelled.index, labelled.y)

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "projection_optimizer": self.projection_optimizer.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        super().load_extra_state(state)
        self.projection_optimizer.load_state_dict(state["projection_optimizer"])


def two_heads(width: int) -> nn.ModuleList:
    """A linear head of 128 with batch normalisation for each network."""
    return nn.ModuleList(nn.Sequential(nn.Linear(width, 128), nn.BatchNorm1d(128)) for _ in range(2))
