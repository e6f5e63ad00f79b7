"""The embedded default: real images that come with scikit-learn, so that nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from platform.data import draw
from platform.data.dataset import Augment
from platform.data.sources.source import Reading, Source, Split

TEST_IMAGES = 360


class Digits(Source):
    """digits: scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, 10 classes (UCI optdigits test set, 1998).

    The test part is fixed: 360 images, stratified, whatever the seeds. Gray values 0 to 16 become 0 to 255. Digits are
    not mirrored. The strong view leaves out what makes digits unreadable: see `augment`.
    """

    flip = False

    def read(self) -> Reading:
        from sklearn.datasets import load_digits  # on first use only: the import takes a second

        bunch: Any = load_digits()
        pixels = np.rint(np.asarray(bunch["images"]) * (255 / 16)).astype(np.uint8)
        labels = np.asarray(bunch["target"], dtype=np.int64)
        test = draw.stratified(labels, TEST_IMAGES, seed=0)
        train = np.setdiff1d(np.arange(len(labels)), test)
        parts = [Split(pixels[rows], labels[rows], ids=[f"digits/{i}" for i in rows]) for rows in (train, test)]
        return Reading(*parts, class_names=tuple("0123456789"))

    def augment(self, image_shape: tuple[int, int, int]) -> Augment:
        # Left out: solarize, rotate (30 degrees) and shifts down, after which a classifier fitted to such images is
        # right least often; colour does nothing to gray. Of the pools tried this one keeps digits the most readable.
        ops = ("identity", "autocontrast", "equalize", "posterize", "brightness", "contrast", "sharpness")
        ops += ("shear_x", "shear_y", "translate_x")
        return Augment(flip=False, pad=1, cutout=0.25, strong_ops=ops, num_ops=2)
