from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from platform.data.sources._torchvision import TorchvisionSource, split
from platform.data.sources.source import Reading, Source


class Svhn(TorchvisionSource):
    """svhn: 73,257 training and 26,032 test house-number digits of 32 x 32 pixels, 10 classes (Netzer, 2011); 246 MB.

    Digits are not mirrored. With `extra`, the 531,131 easier further images serve as unlabelled ones (1.3 GB).
    """

    dataset = "SVHN"
    flip = False

    class Options(Source.Options):
        extra: bool = Field(False, description="use the 531,131 further images as unlabelled ones")

    def _parts(self) -> list[str]:
        return ["train", "test", "extra"] if self.options.extra else ["train", "test"]

    def archives(self) -> list[tuple[Path, str, str]]:
        known = [self.dataset_class.split_list[part] for part in self._parts()]
        return [(self.downloads / name, url, md5) for url, name, md5 in known]

    def files(self) -> list[Path]:
        return [path for path, _, _ in self.archives()]

    def download(self) -> None:
        for part in self._parts():
            self.dataset_class(str(self.downloads), split=part, download=True)

    def read(self) -> Reading:
        train, test = (split(part.data, part.labels) for part in map(self._load_part, ("train", "test")))
        extra = self._load_part("extra").data if self.options.extra else None
        return Reading(train, test, class_names=tuple("0123456789"), extra=extra)

    def _load_part(self, part: str) -> Any:
        return self.load(split=part)
