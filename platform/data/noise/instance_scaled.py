from __future__ import annotations

import numpy as np

from platform.data.noise.instance import Instance


class InstanceScaled(Instance):
    """instance_scaled: as `instance`, with every pixel position standardised over the data and scores of unit variance.

    Our reading, in no paper. The mean image is taken off, so that brightness shared by all images decides nothing, and
    the rest is divided by its standard deviation and by the root of the number of pixels: the softmax is then spread
    over several wrong classes, and which of them is likely depends on the content.
    """

    def scaling(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, square = np.zeros(images.shape[1:]), np.zeros(images.shape[1:])
        for start in range(0, len(images), 4096):
            block = images[start : start + 4096].astype(np.float64)
            mean += block.sum(0) / len(images)
            square += (block**2).sum(0) / len(images)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        scale = np.where(std > 1e-6, 1 / np.maximum(std, 1e-6), 0) / np.sqrt(np.prod(images.shape[1:]))
        return mean.astype(np.float32), scale.astype(np.float32)
