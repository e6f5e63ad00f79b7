"""Forward correction: the prediction is passed through a matrix of label noise before it meets the label."""

from __future__ import annotations

import math

import torch
from pydantic import field_validator
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.parts.memory import latest
from methods.parts.precision import at_least_float32
from methods.ranges import choice, uniform


class ForwardCorrection(Method):
    """Cross-entropy of T^T p, T the noise as estimated from confident images (Patrini et al., 2017, arXiv 1609.03683).

    Until estimate_at of the steps L = CE. Then T_i = p(x_i), x_i the image with the largest p_i over all labelled ones
    (T_ij: probability that class i is labelled j), and L = -(1/B) sum_n log sum_i p_i(x_n) T_i,y_n. The paper's: both.
    The released code's: in place of the largest p_i the one just below its 97th percentile (quantile 0.97; CIFAR-100:
    the largest). Ours: predictions of the last visit instead of a pass over all images, and the weights are kept where
    the paper starts anew. transition: a known T instead. When: noise that depends on the class, and images on which the
    first part of the training is nearly sure.
    """

    class Hyper(Method.Hyper):
        estimate_at: float = hyper(
            0.3,
            search=uniform(0.1, 0.6),
            ge=0,
            lt=1,
            help="part of the steps after which T is estimated; an epoch at least",
        )
        quantile: float = hyper(
            0.97, search=choice(0.97, 1.0), gt=0, le=1, help="of p_i, at which T_i is read; 1 = max"
        )
        transition: str = hyper("", help="known T, rows by semicolons: '0.6 0.4; 0.2 0.8'; empty = estimated")

        @field_validator("transition")
        @classmethod
        def _is_a_transition_matrix(cls, value: str) -> str:
            parse_matrix(value)
            return value

    views = Views(labelled=("weak",))
    in_flight = ("model_ema",)

    def build(self) -> None:
        classes, device = self.setup.num_classes, self.setup.device
        known = parse_matrix(self.hyper.transition)
        if known and len(known) != classes:
            raise ValueError(f"transition: {len(known)} rows for {classes} classes; one row for each is needed")
        self.register_buffer("predictions", torch.zeros(self.setup.num_train, classes, device=device))
        self.register_buffer(
            "transition", torch.tensor(known, device=device) if known else torch.eye(classes).to(device)
        )
        self.predictions: Tensor
        self.transition: Tensor

    def loss(self, batch: Batch) -> Terms:
        labelled, epoch = batch.labelled, math.ceil(self.setup.num_labelled / len(batch.labelled.y))
        start = max(epoch, round(self.hyper.estimate_at * self.setup.steps)) if not self.hyper.transition else 0
        log_p = at_least_float32(self.model(labelled.weak)).log_softmax(dim=1)
        if batch.step < start:
            rows = latest(labelled.index)[0]
            self.predictions.index_copy_(0, labelled.index, log_p.detach()[rows].exp().to(self.predictions.dtype))
            return Terms(labelled=F.nll_loss(log_p, labelled.y))
        if batch.step == start and not self.hyper.transition:
            self.transition.copy_(self.estimate())
        self.record(transition_diagonal=self.transition.diagonal().mean())
        log_t = self.transition.clamp(min=torch.finfo(self.transition.dtype).tiny).log().to(log_p.dtype)
        return Terms(labelled=-(log_p + log_t.T[labelled.y]).logsumexp(dim=1).mean())

    @torch.no_grad()
    def estimate(self) -> Tensor:
        """T [K, K] from the remembered predictions; a class that nothing was seen of keeps its label."""
        count, quantile = self.setup.num_labelled, self.hyper.quantile
        rank = 0 if quantile == 1 else min(count - math.ceil(quantile * (count - 1)), count - 1)
        rows = self.predictions[self.predictions.argsort(dim=0, descending=True)[rank]]
        total = rows.sum(dim=1, keepdim=True)
        return torch.where(total > 0, rows / total.clamp(min=1e-12), torch.eye(len(rows), device=rows.device))


def parse_matrix(text: str) -> list[list[float]]:
    """Rows of a transition matrix written as '0.6 0.4; 0.2 0.8'. Raises ValueError, in words, for anything else."""
    rows = [row.split() for row in text.split(";")] if text.strip() else []
    for number, row in enumerate(rows, 1):
        if not row:
            raise ValueError(f"transition: row {number} is empty; each row has {len(rows)} probabilities")
        try:
            values = [float(entry) for entry in row]
        except ValueError as error:
            raise ValueError(f"transition: row {number} holds something else than numbers: {' '.join(row)}") from error
        if len(values) != len(rows):
            raise ValueError(f"transition: row {number} has {len(values)} numbers; there are {len(rows)} rows")
        if min(values) < 0 or abs(sum(values) - 1) > 1e-6:
            raise ValueError(f"transition: row {number} sums to {sum(values):g}; probabilities sum to 1")
    return [[float(entry) for entry in row] for row in rows]
