from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from platform.data.noise.noise_model import Noise, pick_column

STD = 0.1


class Instance(Noise):
    """instance: how likely a label is wrong, and which wrong class it gets, depends on the image.

    The part-dependent recipe as released with CLID-MU (docs/clid_mu.md, section 4.1, `inst`): image i has a flip rate
    q_i from a normal distribution of mean `rate` and standard deviation 0.1, truncated to [0, 1]; a projection
    W[y] [D, C] of standard normal numbers per class gives scores a = x_i W[y_i] over its D pixel values; the label
    stays with probability 1 - q_i and becomes class k with q_i softmax(a)_k, y_i itself excluded.

    Pixels are 0 to 255, unscaled, in height, width, channel order, as released, to stay comparable with published
    figures. Two consequences: the softmax is one-hot in effect, so an image has one wrong class it can get; and the
    brightness all images share moves the scores of a class together, so few wrong classes are met per class: on
    CIFAR-10 the wrong labels of a class are spread as over 1.3 to 4.4 classes (exp of their entropy; of 9 possible).
    For noise that follows the content of an image, see `instance_scaled` (7.8 to 8.9). Truncation shifts the mean of
    q: 0.2055 at rate 0.2. Rate 0 changes nothing (our reading; the recipe would flip 8 %). The draws are numpy's, not
    torch's: the distribution is that of the release, the single labels are not.
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
        flip_rates = truncated_normal(rate, len(labels), rng)
        draws = rng.random(len(labels))
        shift, scale = self.scaling(images)
        noisy = labels.copy()
        for y in range(num_classes):
            weights = rng.standard_normal((int(np.prod(images.shape[1:])), num_classes), dtype=np.float32)
            for rows in _blocks(np.flatnonzero(labels == y)):
                pixels = (images[rows].astype(np.float32) - shift) * scale
                scores = pixels.transpose(0, 2, 3, 1).reshape(len(rows), -1) @ weights
                table = wrong_class(scores, y) * flip_rates[rows, None]
                table[:, y] = 1 - flip_rates[rows]
                noisy[rows] = [pick_column(p, d) for p, d in zip(table, draws[rows], strict=True)]
        return noisy

    def scaling(self, images: np.ndarray) -> tuple[np.ndarray | np.float32, np.ndarray | np.float32]:
        """Shift that is subtracted from each pixel, and factor of the difference; here 0 and 1."""
        return np.float32(0), np.float32(1)


def truncated_normal(mean: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """[count] draws of N(mean, 0.1) given that they lie in [0, 1]; `mean` itself lies there, so few are drawn again."""
    values = rng.normal(mean, STD, count)
    while (outside := (values < 0) | (values > 1)).any():
        values[outside] = rng.normal(mean, STD, int(outside.sum()))
    return values


def wrong_class(scores: np.ndarray, y: int) -> np.ndarray:
    """[n, C] softmax of `scores` [n, C] without class y, in float64."""
    scores = scores.astype(np.float64)
    scores[:, y] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    exponentials = np.exp(scores)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _blocks(rows: np.ndarray, size: int = 4096) -> list[np.ndarray]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
