"""Hard pseudo-labels: the model's own guesses, how much each counts, their loss and their quality."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.selectors import Selector
from methods.parts.watch import Watch
from methods.types import Batch, Stream


class Watched(Protocol):
    """A method, as far as its guesses are recorded."""

    @property
    def watch(self) -> Watch: ...


class Guessing(Watched, Protocol):
    """A method, as far as it guesses labels: a model of logits, and a selector of the guesses."""

    @property
    def model(self) -> nn.Module: ...
    @property
    def selector(self) -> Selector: ...


@dataclass(frozen=True)
class PseudoLabels:
    """label: [N] argmax of the prediction. confidence: [N] its probability. mask: [N] selection weight in [0, 1].

    trained: the logits [N, K] that `loss` was asked for, for diagnostics.
    """

    label: Tensor
    confidence: Tensor
    mask: Tensor
    trained: list[Tensor] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    @torch.no_grad()
    def of(cls, logits: Tensor, selector: Selector, index: Tensor) -> PseudoLabels:
        """From logits [N, K] of the view that guesses; no gradient flows through them."""
        probabilities = logits.softmax(dim=1)
        confidence, label = probabilities.max(dim=1)
        return cls(label, confidence, selector(probabilities, index))

    def loss(self, logits: Tensor) -> Tensor:
        """(1/N) sum_i m_i CE(z_i, label_i): the mean is over all N, not over the selected ones (as USB does)."""
        self.trained.append(logits)
        return (self.mask * F.cross_entropy(logits, self.label, reduction="none")).mean()

    def record(self, method: Watched, stream: Stream) -> None:
        """Tell the method's watch: utilisation, confidence, accuracy where the truth is known, changes. Once a step."""
        method.watch.pseudo_labels(self, stream)


class GuessedBatch(NamedTuple):
    """Logits of the labelled images [B, K] and of the unlabelled ones' weak and strong views [N, K], and the guess."""

    labelled: Tensor
    weak: Tensor
    strong: Tensor
    guess: PseudoLabels


def guess_on_weak_view(method: Guessing, batch: Batch) -> GuessedBatch:
    """One forward of the labelled weak, unlabelled weak and unlabelled strong views, in this order, so that they share
    batch statistics; the guesses on the weak view are recorded. (docs/semi_supervised.md, section 7.4)"""
    labelled, unlabelled = batch.labelled, batch.stream("unlabelled")
    views = (labelled.weak, unlabelled.weak, unlabelled.strong)
    logits, weak, strong = method.model(torch.cat(views)).split([len(view) for view in views])
    guess = PseudoLabels.of(weak, method.selector, unlabelled.index)
    guess.record(method, unlabelled)
    return GuessedBatch(logits, weak, strong, guess)
