"""Rows of a batch to write to a memory with one entry per training image, where the batch holds an image twice."""

from __future__ import annotations

import torch
from torch import Tensor


def latest(index: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The last row of a batch with the same index (and `keep`) as each row, and whether there is one.

    index: [N] positions in the training set. keep: [N] booleans. Returns rows [N] and booleans [N]. Writing
    `value[rows]` to `memory[index]` then stores one value per image whatever the order of the writes: small sets repeat
    images within a batch, and on a GPU the winner of a race would differ from run to run.
    """
    same = index[:, None] == index[None, :]
    same = same if keep is None else same & keep[None, :]
    order = torch.arange(1, len(index) + 1, device=index.device)
    found, rows = (same * order).max(dim=1)
    return rows, found > 0
