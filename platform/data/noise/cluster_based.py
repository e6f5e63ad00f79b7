from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from platform.data.noise.noise_model import Noise

SIDE, PATCH, LEAST = 8, 0.007, 5


class ClusterBased(Noise):
    """cluster_based: labels are wrong in patches of images that look alike, and become the class they resemble.

    Lim et al., 2024, arXiv 2412.00244 (CBN), as released (github.com/gordon-lim/soft-neighbor-labels at a98d8f6): of
    each class images are drawn as centres; the images of the class near one of them get the class, of the others, whose
    centroid is nearest to the image. Theirs: the plane is a t-SNE of CLIP's embeddings, and a radius and a number of
    centres give the rate (57 of 5,000 images: 35 %; 190: 70 %). Our reading, which needs no trained network and has the
    rate asked for: distances are those of the pixels, averaged to at most 8 x 8 per channel and standardised over the
    data; a centre takes the nearest 0.7 % of its class (as 57 and 190 centres do there, where they may overlap), 5 at
    least, of the images that are still right, until the share `rate` of the class is wrong, to a half image.
    """

    needs_images: ClassVar[bool] = True

    def corrupt(
        self,
        labels: np.ndarray,
        rate: float,
        num_classes: int,
        rng: np.random.Generator,
        images: np.ndarray | None,
        class_names: Sequence[str] | None,
    ) -> np.ndarray:
        assert images is not None
        present, noisy = np.unique(labels), labels.copy()
        if len(present) < 2:
            return noisy
        points = standardised(images)
        centroids = np.stack([points[labels == y].mean(axis=0) for y in present])
        for y in present:
            rows = np.flatnonzero(labels == y)
            chosen = rows[patches(points[rows], round(rate * len(rows)), rng.permutation(len(rows)))]
            distances = ((points[chosen, None] - centroids[None, present != y]) ** 2).sum(axis=2)
            noisy[chosen] = present[present != y][distances.argmin(axis=1)]
        return noisy


def standardised(images: np.ndarray) -> np.ndarray:
    """[N, D] float64: pixels averaged over at most SIDE x SIDE fields per channel, of mean 0 and deviation 1."""
    fields = []
    for start in range(0, len(images), 4096):
        block = images[start : start + 4096].astype(np.float64)
        for axis in (2, 3):
            ends = np.linspace(0, block.shape[axis], min(SIDE, block.shape[axis]) + 1).astype(int)
            sizes = np.diff(ends).reshape([-1 if a == axis else 1 for a in range(4)])
            block = np.add.reduceat(block, ends[:-1], axis=axis) / sizes
        fields.append(block.reshape(len(block), -1))
    points = np.concatenate(fields)
    points -= points.mean(axis=0)
    deviation = points.std(axis=0)
    return points / np.where(deviation > 1e-6, deviation, 1)


def patches(points: np.ndarray, count: int, order: np.ndarray) -> np.ndarray:
    """[count] rows of `points` [n, D] in patches around centres: the rows in `order` [n] that are in no patch yet.

    A patch holds the nearest rows that are in none. Rows come patch by patch, the nearest first: a smaller count gives
    the beginning of a larger one.
    """
    size = max(LEAST, round(PATCH * len(points)))
    found: list[int] = []
    left, squares = np.ones(len(points), dtype=bool), (points**2).sum(axis=1)
    for centre in order:
        if len(found) >= count:
            break
        if left[centre]:
            distances = squares - 2 * (points @ points[centre])  # less what is the same for all
            distances[centre] = -np.inf
            distances[~left] = np.inf
            nearest = np.argsort(distances, kind="stable")[: min(size, int(left.sum()))]
            left[nearest] = False
            found += nearest.tolist()
    return np.array(found[:count], dtype=np.int64)
