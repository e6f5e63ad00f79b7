from __future__ import annotations

from pathlib import Path

from platform.data.sources._torchvision import TorchvisionSource, split
from platform.data.sources.source import Reading


class FashionMnist(TorchvisionSource):
    """fashion_mnist: 60,000 training and 10,000 test gray pictures of clothes, 28 x 28 pixels, 10 classes; 30 MB.

    Xiao, Rasul and Vollgraf, 2017 (arXiv 1708.07747). A mirrored shoe is still a shoe: flips stay on.
    """

    dataset = "FashionMNIST"

    def archives(self) -> list[tuple[Path, str, str]]:
        known, folder = self.dataset_class, self.downloads / self.dataset / "raw"
        return [(folder / name, known.mirrors[0] + name, md5) for name, md5 in known.resources]

    def files(self) -> list[Path]:
        return [path.with_suffix("") for path, _, _ in self.archives()]

    def read(self) -> Reading:
        train, test = self.load(train=True), self.load(train=False)
        parts = [split(part.data, part.targets) for part in (train, test)]
        return Reading(*parts, class_names=tuple(train.classes))
