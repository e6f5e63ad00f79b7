from __future__ import annotations

from platform.data.sources._torchvision import TorchvisionSource, split
from platform.data.sources.source import Reading


class Cifar100(TorchvisionSource):
    """cifar100: 50,000 training and 10,000 test photographs, 32 x 32 pixels, 100 classes (Krizhevsky, 2009); 161 MB."""

    dataset = "CIFAR100"

    def read(self) -> Reading:
        train, test = self.load(train=True), self.load(train=False)
        parts = [split(part.data, part.targets, channels_last=True) for part in (train, test)]
        return Reading(*parts, class_names=tuple(train.classes))
