"""SimMatch: pseudo-labels of an averaged teacher, smoothed by its similarities to the labelled images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.batch_norm import batch_statistics
from methods.parts.ema import ModelEMA
from methods.parts.memory import latest
from methods.parts.precision import at_least_float32, full_precision
from methods.parts.projection_heads import projection_heads
from methods.parts.pseudo_labels import PseudoLabels
from methods.ranges import int_uniform, log_uniform, uniform
from methods.simmatch.similarities import match


class SimMatch(Method):
    """Match class predictions and similarities to the labelled images (Zheng et al., 2022, arXiv 2203.06915).

    f: unit output of a two-layer head on the features; teacher: EMA of network and head, by which a bank holds f and y
    of each labelled image. For an unlabelled image, p: the teacher's prediction for the weak view, divided by its mean
    over the last window steps; s = softmax(<f_teacher(weak), bank> / temperature), s' ~ s p[y of the bank], q =
    smoothing p + (1 - smoothing) (s summed by class); s_student from the strong view, L = CE + lambda_u (1/M) sum_i
    1[max q_i >= threshold] CE(z(strong u_i), q_i) + lambda_in (1/M) sum_i CE(s_student,i, s'_i). The paper's: the two
    losses, the targets, the alignment. The released code's (ImageNet): temperature 0.1, smoothing 0.9, window 256,
    similarities from the second epoch on (here: pass over the labelled images). USB's for CIFAR-10: threshold 0.95,
    uratio 7, lambda_in 1, and a window of 32; its teacher, the network itself, is not in here. Ours: the teacher uses
    batch statistics. When: few labels and many classes, where single predictions of a weak teacher are unsure but
    neighbours agree.
    """

    class Hyper(Method.Hyper):
        threshold: float = hyper(0.95, search=uniform(0.6, 0.98), ge=0, le=1, help="least confidence that counts")
        uratio: int = hyper(7, search=int_uniform(1, 15), ge=1, help="unlabelled images per labelled one in a step")
        lambda_u: float = hyper(1.0, search=log_uniform(0.5, 10.0), ge=0, help="weight of the unlabelled loss")
        lambda_in: float = hyper(1.0, search=log_uniform(0.1, 5.0), ge=0, help="weight of the similarities' loss")
        temperature: float = hyper(
            0.1, search=log_uniform(0.05, 0.5), gt=0, help="of the similarities; small = few count"
        )
        smoothing: float = hyper(0.9, search=uniform(0.5, 1.0), ge=0, le=1, help="share of p in q; 1 = no neighbours")
        window: int = hyper(256, ge=1, help="steps that the mean prediction is taken over")
        width: int = hyper(128, ge=2, help="length of f")

    views = Views(labelled=("weak",), unlabelled=("weak", "strong"))
    in_flight = ("model_ema", "threshold", "lambda_u", "lambda_in", "temperature", "smoothing")

    def build(self) -> None:
        setup = self.setup
        self.projection = projection_heads(self.model, setup, self._projection)
        self.projection_ema = ModelEMA(self.projection, self.hyper.model_ema)
        images = setup.labelled_images
        places = torch.arange(setup.num_train, device=setup.device) if images is None else images.index.sort().values
        self.register_buffer("places", places, persistent=False)  # slot of the bank of each labelled position
        self.register_buffer("bank", torch.zeros(len(places), self.hyper.width, device=setup.device))
        self.register_buffer("bank_y", torch.full((len(places),), -1, device=setup.device))  # -1: not seen yet
        self.register_buffer("means", torch.zeros(self.hyper.window, setup.num_classes, device=setup.device))
        self.places: Tensor
        self.bank: Tensor
        self.bank_y: Tensor
        self.means: Tensor

    def trainable(self) -> Iterator[nn.Parameter]:
        yield from self.model.parameters()
        yield from self.projection.parameters()

    def after_step(self, batch: Batch) -> None:
        super().after_step(batch)
        self.projection_ema.update(self.projection)

    def loss(self, batch: Batch) -> Terms:
        labelled, unlabelled = batch.labelled, batch.stream("unlabelled")
        count, settings = len(labelled.y), self.hyper
        z, f = _embed(self.model, self.projection, torch.cat([labelled.weak, unlabelled.strong]))
        with torch.no_grad(), batch_statistics(self.ema.module):
            x = torch.cat([labelled.weak, unlabelled.weak])
            z_teacher, f_teacher = _embed(self.ema.module, self.projection_ema.module, x)
        with full_precision(z.device):
            p = self._aligned(z_teacher[count:].softmax(dim=1))
            target, similarities = p, 0 * f.sum()  # a gradient for every parameter from the first step on
            if batch.step * count >= self.setup.num_labelled:  # each labelled image was seen
                bank = self.bank.to(p.dtype).clone()  # its rows change before the backward pass
                teacher, student = (own[count:] @ bank.T / settings.temperature for own in (f_teacher, f))
                target, similarities = match(p, teacher, student, self.bank_y, settings.smoothing)
            self._remember(labelled.index, f_teacher[:count], labelled.y)
            confidence, label = target.max(dim=1)
            guess = PseudoLabels(label, confidence, (confidence >= settings.threshold).to(target.dtype), [z[count:]])
            guess.record(self, unlabelled)
            each = guess.mask * F.cross_entropy(z[count:], target, reduction="none")
            return Terms(
                labelled=self.labelled_loss(z[:count], labelled.y),
                unlabelled=settings.lambda_u * each.mean(),
                similarities=settings.lambda_in * similarities,
            )

    def _projection(self, width: int) -> nn.Module:
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, self.hyper.width))

    @torch.no_grad()
    def _aligned(self, p: Tensor) -> Tensor:
        self.means.copy_(torch.cat([self.means[1:], p.mean(dim=0, keepdim=True).to(self.means.dtype)]))
        p = p / self.means.mean(dim=0).clamp(min=torch.finfo(self.means.dtype).tiny).to(p.dtype)
        return p / p.sum(dim=1, keepdim=True)

    @torch.no_grad()
    def _remember(self, index: Tensor, f: Tensor, y: Tensor) -> None:
        slots = torch.searchsorted(self.places, index)
        self.bank.index_copy_(0, slots, f[latest(index)[0]].to(self.bank.dtype))
        self.bank_y.index_copy_(0, slots, y)


def _embed(model: nn.Module, projection: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [N, K] and unit embeddings [N, width]."""
    features, logits = model(x, with_features=True)
    return at_least_float32(logits), F.normalize(at_least_float32(projection(features)), dim=1)
