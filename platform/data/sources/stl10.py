from __future__ import annotations

from pydantic import Field

from platform.data.sources._torchvision import TorchvisionSource, split
from platform.data.sources.source import Reading, Source


class Stl10(TorchvisionSource):
    """stl10: 5,000 training, 8,000 test and 100,000 unlabelled photographs of 96 x 96 pixels, 10 classes; 2.5 GB.

    Coates, Ng and Lee, 2011. The unlabelled images come from a wider distribution than the ten classes.
    """

    dataset = "STL10"

    class Options(Source.Options):
        image_size: int | None = Field(None, ge=8, le=96, description="resize to this many pixels; none: 96")
        unlabelled: bool = Field(True, description="use the 100,000 unlabelled images")

    def download(self) -> None:
        self.dataset_class(str(self.downloads), split="train", download=True)

    def read(self) -> Reading:
        train, test = self.load(split="train"), self.load(split="test")
        extra = self.load(split="unlabeled").data if self.options.unlabelled else None
        parts = [split(part.data, part.labels) for part in (train, test)]
        return Reading(*parts, class_names=tuple(train.classes), extra=extra)
