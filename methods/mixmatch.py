"""MixMatch: guess labels, sharpen them, and mix labelled with unlabelled images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.batch_norm import frozen_statistics
from methods.parts.mixing import mix_near, one_hot, sharpen
from methods.parts.pseudo_labels import PseudoLabels
from methods.parts.selectors import Everything
from methods.ranges import int_uniform, log_uniform, uniform


class MixMatch(Method):
    """Mixed labelled and guessed images, cross-entropy and squared error (Berthelot et al., 2019, arXiv 1905.02249).

    u^1, u^2 two weak views, q_i = sharpen(mean of their predictions, temperature). W = (x, u^1, u^2), targets (y, q,
    q): W' = lam W + (1 - lam) W_pi with lam = max(l, 1 - l), l ~ Beta(alpha, alpha); over the mixed images
    L = CE(first B) + lambda_u w(t) MSE(the others, mean over classes), w(t) = clip(t / (ramp N), 0, 1).
    The paper's: guesses, mixing and losses, with one lam per image, alpha 0.75 and lambda_u 75. Its code's: the batch
    is interleaved so that each forward of B images holds some of all kinds, and only the first one moves BN's running
    statistics (USB does not interleave). USB's (docs/semi_supervised.md, section 7.8): one lam per step, alpha 0.5,
    lambda_u 100; guesses leave BN running statistics alone. Ours: lambda_u 25, since in short runs or with few classes
    100 can end in one class. When: few labels and no trustworthy strong view.
    """

    class Hyper(Method.Hyper):
        temperature: float = hyper(0.5, search=uniform(0.25, 1.0), gt=0, help="sharpens the guesses; 1 = not at all")
        alpha: float = hyper(0.5, search=log_uniform(0.1, 2.0), gt=0, help="Beta(alpha, alpha) of the mixing weight")
        uratio: int = hyper(1, search=int_uniform(1, 4), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(25.0, search=log_uniform(5.0, 200.0), ge=0, help="weight of the unlabelled loss")
        ramp: float = hyper(0.4, search=uniform(0.0, 0.6), ge=0, le=1, help="part of the steps that ramps lambda_u up")

    views = Views(labelled=("weak",), unlabelled=("weak", "weak"))
    in_flight = ("model_ema", "temperature", "alpha", "lambda_u", "ramp")

    def loss(self, batch: Batch) -> Terms:
        labelled, unlabelled = batch.labelled, batch.stream("unlabelled")
        count = len(labelled.y)
        guess = self._guess(batch)
        known = one_hot(labelled.y, guess)
        images, targets = torch.cat([labelled.weak, *unlabelled.views]), torch.cat([known, guess, guess])
        images, targets = mix_near(images, targets, self.hyper.alpha, self.generator)
        logits = self._in_chunks(images, count)
        weight = self.hyper.lambda_u * self.ramp_up(batch.step, self.hyper.ramp)
        return Terms(
            labelled=F.cross_entropy(logits[:count], targets[:count]),
            unlabelled=weight * F.mse_loss(logits[count:].softmax(dim=1), targets[count:]),
        )

    @torch.no_grad()
    def _guess(self, batch: Batch) -> Tensor:
        unlabelled = batch.stream("unlabelled")
        with frozen_statistics(self.model):
            mean = torch.stack([self.model(view).softmax(dim=1) for view in unlabelled.views]).mean(dim=0)
        PseudoLabels.of(mean.log(), Everything(), unlabelled.index).record(self, unlabelled)
        return sharpen(mean, self.hyper.temperature)

    def _in_chunks(self, images: Tensor, size: int) -> Tensor:
        """Logits of chunks of `size` images, of all kinds in each; only the first moves BN running statistics."""
        chunks = len(images) // size
        order = torch.arange(len(images), device=images.device).view(-1, chunks).T.reshape(-1)
        first, *others = images[order].split(size)
        logits = [self.model(first)]
        with frozen_statistics(self.model):
            logits += [self.model(chunk) for chunk in others]
        return torch.cat(logits)[order.argsort()]
