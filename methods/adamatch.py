"""AdaMatch: FixMatch with aligned pseudo-labels, a relative threshold and random interpolation of logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.batch_norm import frozen_statistics
from methods.parts.precision import at_least_float32
from methods.parts.pseudo_labels import PseudoLabels
from methods.ranges import int_uniform, log_uniform, uniform


class AdaMatch(Method):
    """FixMatch under a shift between labelled and unlabelled images (Berthelot et al., 2022, arXiv 2106.04732).

    z'_x: logits of the weak and the strong labelled views in a pass of their own, z''_x beside the unlabelled ones; z_x
    = z'_x l + z''_x (1 - l), l ~ U(0, 1) for each logit. q_i ~ softmax(sg z(weak u_i)) (P_x + 1e-6) / (P_u + 1e-6), P_x
    an EMA of the mean prediction for weak labelled images, P_u the mean over the last window steps; m_i = 1[max q_i >=
    threshold mean_j max softmax(z_x,j)], y_i = argmax q_i, L = mean CE(z_x of weak and strong, y) + mu(t) lambda_u
    (1/M) sum_i m_i CE(z(strong u_i), y_i), mu(t) = 1/2 - cos(min(pi, 2 pi t / N)) / 2. The paper's: interpolation,
    alignment, threshold and mu; threshold 0.9, three unlabelled images per labelled one. The released code's: both
    averages begin at 1 / K, EMA 0.999, window 128; the first pass leaves the running statistics alone. Not its
    augmentations (CTAugment). When: few labels, and unlabelled images of another kind or other class frequencies.
    """

    class Hyper(Method.Hyper):
        threshold: float = hyper(
            0.9, search=uniform(0.6, 1.0), ge=0, le=2, help="least confidence, in units of the labelled images' mean"
        )
        uratio: int = hyper(3, search=int_uniform(1, 7), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 4.0), ge=0, help="weight of the unlabelled loss")
        alignment_ema: float = hyper(0.999, ge=0, lt=1, help="EMA of the labelled images' mean prediction")
        window: int = hyper(128, ge=1, help="steps that the unlabelled images' mean prediction is taken over")

    views = Views(labelled=("weak", "strong"), unlabelled=("weak", "strong"))
    in_flight = ("model_ema", "threshold", "lambda_u", "alignment_ema")

    def build(self) -> None:
        classes, device = self.setup.num_classes, self.setup.device
        self.register_buffer("labelled_mean", torch.full((classes,), 1 / classes, device=device))
        self.register_buffer("unlabelled_means", torch.full((self.hyper.window, classes), 1 / classes, device=device))
        self.labelled_mean: Tensor
        self.unlabelled_means: Tensor

    def loss(self, batch: Batch) -> Terms:
        labelled, unlabelled = batch.labelled, batch.stream("unlabelled")
        x = torch.cat([labelled.weak, labelled.strong])
        with frozen_statistics(self.model):
            alone = at_least_float32(self.model(x))
        logits = at_least_float32(self.model(torch.cat([x, unlabelled.weak, unlabelled.strong])))
        beside, weak, strong = logits.split([len(x), len(unlabelled.index), len(unlabelled.index)])
        mix = torch.rand(alone.shape, generator=self.generator, device=alone.device, dtype=alone.dtype)
        z = torch.lerp(beside, alone, mix)
        guess = self._guess(z[: len(labelled.y)].detach().softmax(dim=1), weak.detach().softmax(dim=1))
        guess.record(self, unlabelled)
        weight = self.hyper.lambda_u * (0.5 - math.cos(min(math.pi, 2 * math.pi * batch.progress)) / 2)
        supervised = F.cross_entropy(z, labelled.y.repeat(2))
        return Terms(labelled=supervised, unlabelled=weight * guess.loss(strong))

    @torch.no_grad()
    def _guess(self, labelled: Tensor, unlabelled: Tensor) -> PseudoLabels:
        """Aligned pseudo-labels from the predictions [B, K] and [M, K] of the weak views."""
        dtype = self.labelled_mean.dtype
        self.labelled_mean.lerp_(labelled.mean(dim=0).to(dtype), 1 - self.hyper.alignment_ema)
        newest = unlabelled.mean(dim=0, keepdim=True).to(dtype)
        self.unlabelled_means.copy_(torch.cat([self.unlabelled_means[1:], newest]))
        q = unlabelled * (self.labelled_mean + 1e-6) / (self.unlabelled_means.mean(dim=0) + 1e-6)
        confidence, label = (q / q.sum(dim=1, keepdim=True)).max(dim=1)
        least = self.hyper.threshold * labelled.amax(dim=1).mean()
        return PseudoLabels(label, confidence, (confidence >= least).to(unlabelled.dtype))
