"""A dataset (decoded images in a memory map, labels, augmentations) and the label plan of a trial on it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

__all__ = ["Augment", "Dataset", "Image", "Images", "LabelPlan", "Split"]

Image = bytes | Path | np.ndarray | None
"""An encoded image (bytes, or a file's path), a raw one ([C, H, W] uint8), or None: the row has none."""

Images = Sequence[Image] | np.ndarray
"""Images of a split before they are decoded."""

ImagesT = TypeVar("ImagesT", bound=Images, covariant=True)


@dataclass(frozen=True)
class Augment:
    """Augmentations that suit a source's images. pad: in pixels. strong_ops: of the strong view; empty = all."""

    flip: bool = True
    pad: int = 4
    cutout: float = 0.5  # largest side of the cut square, as a share of the width
    strong_ops: tuple[str, ...] = ()
    num_ops: int = 3  # operations per image in the strong view


@dataclass
class Split(Generic[ImagesT]):
    """One part of a dataset, a row per image: as a source read it, or decoded.

    images: of a source, a sequence of `Image` or one uint8 array [N, C, H, W] or [N, H, W]; of a `Dataset`, [N, C, H,
    W] uint8 (a read-only memory map). labels, true_labels: [N] int64, -1 = none. columns: further label columns by
    name (for noise `column:NAME`). ids: a name per image by which a person can find it again.
    """

    images: ImagesT
    labels: np.ndarray
    true_labels: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    ids: list[str] | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass
class Dataset:
    """Decoded images with their labels. extra: images without any label (STL-10's 100,000). sha256: of the content."""

    name: str
    class_names: tuple[str, ...]
    train: Split[np.ndarray]
    test: Split[np.ndarray]
    augment: Augment
    sha256: str
    extra: np.ndarray | None = None
    notes: tuple[str, ...] = ()  # remarks for the user: rows without label, images skipped
    truth_hint: str = ""  # how a user of the source names true labels

    @property
    def knows_test_truth(self) -> bool:
        """Whether true labels of test images are known."""
        return self.test.true_labels is not None and bool((self.test.true_labels >= 0).any())

    @property
    def test_labels(self) -> np.ndarray:
        """[N] int64, what test accuracy is measured against: true labels where any is known, else those given."""
        truth = self.test.true_labels
        return truth if truth is not None and self.knows_test_truth else self.test.labels

    @property
    def fingerprint(self) -> str:
        """The data's part of a trial's key: hashes of the decoded content and of how it may be augmented."""
        augment = hashlib.sha256(repr(self.augment).encode()).hexdigest()
        return f"{self.sha256[:16]}-{augment[:8]}"

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.train.images.shape[1:])  # type: ignore[return-value]


@dataclass(frozen=True)
class LabelPlan:
    """The images that a trial learns from, with their labels. Positions refer to the training split.

    given: [N] labels after noise (-1 = none). true: [N] labels before it, or None where they are unknown.
    labelled, val: positions. unlabelled: positions, len(train) + j for image j of `extra`; as in USB the labelled
    images are part of it. sha256 covers all arrays and `settings`, the label settings and seeds as JSON.
    """

    labelled: np.ndarray
    unlabelled: np.ndarray
    val: np.ndarray
    given: np.ndarray
    true: np.ndarray | None
    sha256: str
    notes: tuple[str, ...] = ()
    settings: str = ""
