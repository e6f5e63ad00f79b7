"""Selection by small loss: images whose label fits a half-trained model (Arazo et al., 2019; DivideMix, 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.parts.loss_mixture import clean_probability
from methods.parts.precision import at_least_float32
from methods.types import Setup


def select_small_loss(losses: Tensor, y: Tensor, counts: Sequence[int], size: int) -> Tensor:
    """Places in `losses` [N] of the size // K images of each class with the highest probability of being clean, ties
    by smaller loss (docs/clid_mu.md, section 2.4; the mixture is fitted to losses scaled to [0, 1], as DivideMix does).

    y: [N] given labels in 0..K-1. counts: images of each class in y, known to the host so that shapes are. A class with
    fewer images than its share gives all it has. Returns [M] int64, without repetition.
    """
    posterior = clean_probability(losses)
    by_loss = losses.argsort(stable=True)
    order = by_loss[posterior[by_loss].argsort(descending=True, stable=True)]
    ordered_y = y[order]
    chosen = []
    for label, count in enumerate(counts):
        take = min(count, size // len(counts))
        # Stable and descending: the places of this class first, best first.
        first = (ordered_y == label).to(torch.int8).argsort(descending=True, stable=True)[:take]
        chosen.append(order[first])
    return torch.cat(chosen)


class SmallLossSet(nn.Module):
    """Meta set of the *_sloss goals: positions of the selected images.

    (The released code trains on the whole noisy set instead: docs/clid_mu.md, section 8.1, P1.) Raises ValueError at
    once where the platform gives no access to all labelled images, or where a meta batch would be larger than the set.
    """

    def __init__(self, setup: Setup, size: int, batch_size: int) -> None:
        super().__init__()
        if setup.labelled_images is None:
            raise ValueError("meta_goal: selection by small loss looks at all labelled images, which are not available")
        self.images, self.counts, self.size, self.batch_size = (
            setup.labelled_images,
            setup.label_counts,
            size,
            batch_size,
        )
        found = sum(min(count, size // len(self.counts)) for count in self.counts)
        if batch_size > found:
            raise ValueError(
                f"meta_batch_size: {batch_size} is larger than the meta set, {found} images selected by small loss; "
                f"at most {found}, or a larger meta_set_size"
            )
        self.register_buffer("index", torch.zeros(found, dtype=torch.int64, device=setup.device))
        self.register_buffer("y", torch.zeros(found, dtype=torch.int64, device=setup.device))
        self.index: Tensor
        self.y: Tensor

    @torch.no_grad()
    def select(self, model: nn.Module, chunk: int = 512) -> None:
        """Select anew, by the cross-entropy of every labelled image in plain view and eval mode. Draws nothing."""
        images, training = self.images, model.training
        model.eval()
        generator = torch.Generator(images.index.device)  # plain views draw nothing from it
        losses = [
            F.cross_entropy(at_least_float32(model(images.view(index, "plain", generator))), y, reduction="none")
            for index, y in zip(images.index.split(chunk), images.y.split(chunk), strict=True)
        ]
        model.train(training)
        places = select_small_loss(torch.cat(losses), images.y, self.counts, self.size)
        self.index.copy_(images.index[places])
        self.y.copy_(images.y[places])

    def draw(self, names: tuple[str, ...], generator: torch.Generator) -> tuple[tuple[Tensor, ...], Tensor]:
        """Views of `batch_size` different images of the set, and their given labels."""
        order = torch.randperm(len(self.index), generator=generator, device=self.index.device)[: self.batch_size]
        index = self.index[order]
        return tuple(self.images.view(index, name, generator) for name in names), self.y[order]
