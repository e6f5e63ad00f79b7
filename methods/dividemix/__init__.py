"""DivideMix: two networks divide the labels for each other into clean and noisy, and treat the noisy as unlabelled."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Method, Stream, Terms, Views, hyper
from methods.parts.label_division import divided_loss, mean_prediction, record_kept
from methods.parts.loss_mixture import clean_probability, scaled
from methods.parts.memory import latest
from methods.parts.mixing import mix_near, one_hot, sharpen
from methods.parts.network_pair import NetworkPair
from methods.parts.second_network import SecondNetwork
from methods.ranges import log_uniform, uniform


class DivideMix(Method):
    """Divide the images by a mixture model of their losses, then MixMatch on both parts (Li et al., 2020, 2002.07394).

    Warm-up: L = CE + confidence_penalty mean_i sum_c p_ic log p_ic. Then once per epoch (host arithmetic says when; the
    device does not wait) two Gaussians are fitted to the losses of each network: w_i = P(the smaller mean). Network k
    takes w from the other one, and per step, p_k the mean prediction over two weak views, no gradient:
      w_i > clean_threshold: t_i = sharpen(w_i y_i + (1 - w_i) p_k,i)   co-refinement, part X
      else:                  t_i = sharpen((p_k,i + p'_i) / 2)          co-guessing, part U; p' by the partner
    both views of all images with t mixed as in MixMatch (lam = max(l, 1 - l), l ~ Beta(alpha, alpha)),
    L_k = mean_X CE + lambda_u w(t) mean_U MSE + balance sum_c pi_c log(pi_c / mean p_c), pi_c = 1 / K.
    The paper's: the division, the targets, the losses; lambda_u 0 to 150 by noise. The released code's, by default: the
    mixture is stopped after 10 rounds or at a change below 1e-2 (converged it takes 0.29 instead of 0.47 of the images
    for X at 60 % noise). Its mean of 5 epochs' losses, at 90 % noise, is loss_epochs; its partner, guessing in eval
    mode, is partner: eval. Ours by default: the partner uses the batch's statistics; in 50 steps on an easy toy running
    ones are not there yet, and the method does not learn with them.
    Ours: a batch is drawn from all images and divided by masks (the code draws as many of X as of U); losses are those
    of the last visit, from the guesses, not of a pass of their own; both networks step on the same batch, not one after
    the other for an epoch; guesses leave BN's running statistics alone. Evaluated: the mean logits of the two averaged
    networks (the code's sum of the live ones).
    When: much label noise and time: about four plain steps of twice the batch.
    """

    class Hyper(Method.Hyper):
        warmup: float = hyper(
            0.1, search=uniform(0.03, 0.3), ge=0, le=1, help="part of the steps on all labels; an epoch at least"
        )
        confidence_penalty: float = hyper(
            0.0, ge=0, help="weight of the negative entropy in warm-up; 1 where noise is asymmetric"
        )
        clean_threshold: float = hyper(0.5, search=uniform(0.2, 0.8), gt=0, lt=1, help="least w that keeps the label")
        temperature: float = hyper(0.5, search=uniform(0.25, 1.0), gt=0, help="sharpens the targets; 1 = not at all")
        alpha: float = hyper(4.0, search=log_uniform(0.5, 8.0), gt=0, help="Beta(alpha, alpha) of the mixing weight")
        lambda_u: float = hyper(
            25.0, search=log_uniform(1.0, 150.0), ge=0, help="weight of the squared error on part U"
        )
        ramp: float = hyper(0.05, search=uniform(0.0, 0.3), ge=0, le=1, help="part of the steps that ramps lambda_u up")
        mixture: Literal["release", "converged"] = hyper(
            "release", help="rounds of the mixture: 10 at most, to a tolerance of 1e-2, or to convergence"
        )
        partner: Literal["eval", "train"] = hyper(
            "train", help="mode in which the partner guesses: eval as released; train: by the batch's own statistics"
        )
        loss_epochs: int = hyper(
            1, ge=1, help="epochs whose losses are averaged before the mixture; the release has 5 at 90 % noise"
        )
        balance: float = hyper(1.0, ge=0, help="weight of the pull towards equally frequent classes")

    views = Views(labelled=("weak", "weak"))
    in_flight = ("model_ema", "clean_threshold", "temperature", "alpha", "lambda_u")

    def build(self) -> None:
        self.second = SecondNetwork(self.model, self.setup, self.hyper.model_ema)
        shape, device = (2, self.setup.num_train), self.setup.device
        self.register_buffer("losses", torch.full(shape, -1.0, device=device))  # -1: not seen yet
        self.register_buffer("clean", torch.ones(shape, device=device))
        self.register_buffer(
            "history", torch.full((self.hyper.loss_epochs, *shape), -1.0, device=device)
        )  # newest last
        self.losses: Tensor
        self.clean: Tensor
        self.history: Tensor

    @property
    def eval_model(self) -> nn.Module:
        return NetworkPair(self.ema.module, self.second.ema.module)

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        epoch = math.ceil(self.setup.num_labelled / len(batch.labelled.y))
        start = max(epoch, round(self.hyper.warmup * self.setup.steps))
        with self.autocast():
            if batch.step < start:
                parts = self._warm_up(batch.labelled)
            else:
                if (batch.step - start) % epoch == 0:
                    self._divide()
                parts = self._divided(
                    batch.labelled, self.hyper.lambda_u * self.ramp_up(batch.step - start, self.hyper.ramp)
                )
        self.watch.compare(parts[1])  # before the first network moves, while the graphs of both are complete
        self.descend(parts[0].total(), optimizer)
        self.second.descend(parts[1].total(), optimizer, self.setup.grad_clip)
        return Terms({name: (parts[0][name] + parts[1][name]) / 2 for name in parts[0]})

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.second.update_average()

    def _warm_up(self, labelled: Stream) -> list[Terms]:
        found = []
        for k, network in enumerate((self.model, self.second.model)):
            logits = network(labelled.views[0])
            each = F.cross_entropy(logits, labelled.y, reduction="none")
            self._remember(k, labelled.index, each)
            log_p = logits.log_softmax(dim=1)
            penalty = self.hyper.confidence_penalty * (log_p.exp() * log_p).sum(dim=1).mean()
            found.append(Terms(labelled=each.mean(), confidence=penalty))
        return found

    @torch.no_grad()
    def _divide(self) -> None:
        """Fit the mixtures to the losses, scaled to [0, 1] and averaged over the last epochs in which an image was
        seen."""
        now = torch.stack([torch.where(losses >= 0, scaled(losses), -1) for losses in self.losses])
        self.history.copy_(torch.cat([self.history[1:], now[None]]))
        seen = self.history >= 0
        count = seen.sum(dim=0)
        mean = torch.where(count > 0, (self.history * seen).sum(dim=0) / count.clamp(min=1), -1)
        how = {"rounds": 10, "tolerance": 1e-2} if self.hyper.mixture == "release" else {}
        self.clean.copy_(torch.stack([clean_probability(losses, **how) for losses in mean]))

    def _divided(self, labelled: Stream, weight: float) -> list[Terms]:
        networks = (self.model, self.second.model)
        guesses = [mean_prediction(network, labelled.views) for network in networks]
        theirs = guesses
        if self.hyper.partner == "eval":
            theirs = [mean_prediction(network, labelled.views, evaluated=True) for network in networks]
        y = one_hot(labelled.y, guesses[0])
        found = []
        for k, network in enumerate(networks):
            self._remember(k, labelled.index, -(y * guesses[k].clamp(min=1e-12).log()).sum(dim=1))
            w = self.clean[1 - k][labelled.index].to(y.dtype)
            kept = (w > self.hyper.clean_threshold).to(y.dtype)
            refined = w[:, None] * y + (1 - w[:, None]) * guesses[k]
            target = torch.where(kept[:, None] > 0, refined, (guesses[k] + theirs[1 - k]) / 2)
            found.append(self._loss(network, labelled, sharpen(target, self.hyper.temperature), kept, weight))
            record_kept(self, labelled, kept)
        return found

    def _loss(self, network: nn.Module, labelled: Stream, target: Tensor, kept: Tensor, weight: float) -> Terms:
        x, target = mix_near(torch.cat(labelled.views), torch.cat([target, target]), self.hyper.alpha, self.generator)
        return divided_loss(network(x), target, torch.cat([kept, kept]), weight, self.hyper.balance)

    @torch.no_grad()
    def _remember(self, k: int, index: Tensor, losses: Tensor) -> None:
        self.losses[k].index_copy_(0, index, losses[latest(index)[0]].clamp(min=0).to(self.losses.dtype))
