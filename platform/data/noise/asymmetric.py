from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from platform.data.noise.noise_model import Noise

OBJECTS = {"truck": "automobile", "bird": "airplane", "cat": "dog", "dog": "cat", "deer": "horse"}
DIGITS = {"7": "1", "2": "7", "5": "6", "6": "5", "3": "8"}
_SYNONYMS = {"car": "automobile", "plane": "airplane"}


class Asymmetric(Noise):
    """asymmetric: a share `rate` of the labels becomes the class it is easily mistaken for.

    Which class that is depends on the class names (docs/clid_mu.md, section 4.2, `asy`):
    CIFAR-10's and STL-10's: truck to automobile, bird to airplane, cat to dog and back, deer to horse, others clean.
    Digits "0" to "9": 7 to 1, 2 to 7, 5 to 6 and back, 3 to 8, others clean (the map used on MNIST).
    CIFAR-100's: the next class inside blocks of 5 consecutive class numbers, as released; these blocks are not the
    true superclasses. Any other names, or none given: the next class, as `pair` (our reading).
    With 5 of 10 classes clean, the share of wrong labels over balanced classes is rate / 2.
    """

    def transition(self, num_classes: int, rate: float, class_names: Sequence[str] | None) -> np.ndarray:
        table = np.eye(num_classes)
        for y, wrong in enumerate(targets(num_classes, class_names)):
            table[y, y] -= rate
            table[y, wrong] += rate
        return table


def targets(num_classes: int, class_names: Sequence[str] | None) -> list[int]:
    """[C] the class each class is mistaken for; itself where it stays clean."""
    names = [_SYNONYMS.get(n.lower(), n.lower()) for n in class_names or ()]
    if len(names) == num_classes == 10:
        for confusions in (OBJECTS, DIGITS):
            if {*confusions, *confusions.values()} <= set(names):
                return [names.index(confusions.get(name, name)) for name in names]
    if num_classes == 100 and names[:2] == ["apple", "aquarium_fish"]:
        return [5 * (y // 5) + (y + 1) % 5 for y in range(100)]
    return [(y + 1) % num_classes for y in range(num_classes)]
