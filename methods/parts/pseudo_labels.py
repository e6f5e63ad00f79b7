"""Hard pseudo-labels: labels predicted by the model, their selection weights, their loss and their quality."""

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
    """A method whose pseudo-labels are recorded."""

    @property
    def watch(self) -> Watch: ...


class Guessing(Watched, Protocol):
    """A method that makes pseudo-labels with its model and weights them with its selector."""

    @property
    def model(self) -> nn.Module: ...
    @property
    def selector(self) -> Selector: ...


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labels of the unlabelled images of a step.

    label: [N] argmax of the prediction. confidence: [N] its probability. mask: [N] selection weight in [0, 1].
    trained: the logits [N, K] that `loss` was called with, for diagnostics.
    """

    label: Tensor
    confidence: Tensor
    mask: Tensor
    trained: list[Tensor] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    @torch.no_grad()
    def of(cls, logits: Tensor, selector: Selector, index: Tensor) -> PseudoLabels:
        """Pseudo-labels from logits [N, K] of the view that they are made on; no gradient flows through them."""
        probabilities = logits.softmax(dim=1)
        confidence, label = probabilities.max(dim=1)
        return cls(label, confidence, selector(probabilities, index))

    def loss(self, logits: Tensor) -> Tensor:
        """Loss (1/N) sum_i m_i CE(z_i, label_i): the mean is over all N, not over the selected ones (as USB does)."""
        self.trained.append(logits)
        return (self.mask * F.cross_entropy(logits, self.label, reduction="none")).mean()

    def record(self, method: Watched, stream: Stream) -> None:
        """Record utilisation, confidence, changes and, where the truth is known, accuracy. Call once a step."""
        method.watch.pseudo_labels(self, stream)


class GuessedBatch(NamedTuple):
    """Logits of the labelled images [B, K] and of the unlabelled weak and strong views [N, K]; the pseudo-labels."""

    labelled: Tensor
    weak: Tensor
    strong: Tensor
    guess: PseudoLabels


def guess_on_weak_view(method: Guessing, batch: Batch) -> GuessedBatch:
    """Pseudo-labels from the weak view, recorded, out of one forward of the labelled, weak and strong views.

    In this order, and together, so that they share batch statistics (docs/semi_supervised.md, section 7.4).
    """
    labelled, unlabelled = batch.labelled, batch.stream("unlabelled")
    views = (labelled.weak, unlabelled.weak, unlabelled.strong)
    logits, weak, strong = method.model(torch.cat(views)).split([len(view) for view in views])
    guess = PseudoLabels.of(weak, method.selector, unlabelled.index)
    guess.record(method, unlabelled)
    return GuessedBatch(logits, weak, strong, guess)
