"""Confident learning: estimate how many labels of each kind are wrong, prune the likeliest, train on the rest."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Method, Terms, Views, hyper
from methods.confident_learning.pruning import pruned
from methods.parts.label_division import record_kept
from methods.parts.memory import latest
from methods.parts.precision import at_least_float32
from methods.parts.second_network import SecondNetwork
from methods.ranges import choice, uniform


class ConfidentLearning(Method):
    """Prune labels that held-out predictions contradict, and go on without them (Northcutt et al., 2021, 1911.00068).

    Until prune_at of the steps two networks learn by cross-entropy, each on one half of the images, and predict the
    other half: p(x). t_j = mean of p_j over images labelled j; C_ij = number of images labelled i whose largest p_k
    among those with p_k >= t_k is p_j; Q_ij = C_ij n_i / sum_k C_ik, n_i labels of class i. Pruned are, by class: the
    sum_j!=i Q_ij images labelled i of least p_i; by noise_rate: for each i and j the Q_ij of largest p_j - p_i; by
    off_diagonal: all that C counts off its diagonal. Then L = sum_kept CE / number kept in the batch. The paper's: t,
    C, Q and these three prunings (PBC, PBNR, C; not both of the first two at once, nor its baseline). Ours: two folds
    (its code: four), predictions of the last visit (its: of networks trained to the end), the first network goes on
    from its weights (its: a new one), no class weights. When: noise that depends on the class, a model that is good by
    half of the steps; the pruned labels can be looked at.
    """

    class Hyper(Method.Hyper):
        prune_at: float = hyper(
            0.4, search=uniform(0.2, 0.7), ge=0, lt=1, help="part of the steps after which labels are pruned"
        )
        prune: Literal["class", "noise_rate", "off_diagonal"] = hyper(
            "noise_rate", search=choice("class", "noise_rate", "off_diagonal"), help="which labels are pruned"
        )

    views = Views(labelled=("weak",))
    in_flight = ("model_ema",)

    def build(self) -> None:
        count, classes, device = self.setup.num_train, self.setup.num_classes, self.setup.device
        self.second = SecondNetwork(self.model, self.setup, self.hyper.model_ema)
        self.register_buffer("predictions", torch.zeros(count, classes, device=device))
        self.register_buffer("given", torch.full((count,), -1, device=device))  # -1: not seen yet
        self.register_buffer("kept", torch.ones(count, device=device))
        self.predictions: Tensor
        self.given: Tensor
        self.kept: Tensor

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        epoch = math.ceil(self.setup.num_labelled / len(batch.labelled.y))
        start = max(epoch, round(self.hyper.prune_at * self.setup.steps))
        if batch.step < start:
            return self._first_stage(batch, optimizer)
        if batch.step == start:
            self.kept.copy_(~pruned(self.predictions, self.given, self.hyper.prune))
        labelled = batch.labelled
        with self.autocast():
            losses = F.cross_entropy(at_least_float32(self.model(labelled.weak)), labelled.y, reduction="none")
        kept = self.kept[labelled.index].to(losses.dtype)
        record_kept(self, labelled, kept)
        terms = Terms(labelled=(kept * losses).sum() / kept.sum().clamp(min=1))
        self.descend(terms, optimizer)
        return terms

    def _first_stage(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        x, y, index = batch.labelled.weak, batch.labelled.y, batch.labelled.index
        fold = index % 2
        with self.autocast():
            logits = [at_least_float32(network(x)) for network in (self.model, self.second.model)]
        means = []
        for number, z in enumerate(logits):
            own = (fold == number).to(z.dtype)
            means.append((own * F.cross_entropy(z, y, reduction="none")).sum() / own.sum().clamp(min=1))
        held_out = torch.where(fold[:, None] == 0, logits[1], logits[0]).detach().softmax(dim=1)
        rows = latest(index)[0]
        self.predictions.index_copy_(0, index, held_out[rows].to(self.predictions.dtype))
        self.given.index_copy_(0, index, y)
        self.descend(Terms(labelled=means[0]), optimizer)
        self.second.descend(means[1], optimizer, self.setup.grad_clip)
        return Terms(labelled=means[0], second=means[1].detach())
