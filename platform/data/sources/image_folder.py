from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from platform.core.errors import Problem, UserError
from platform.data.classes import check_count
from platform.data.sources.source import Images, LocalOptions, Reading, Source, Split

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
UNLABELLED = ("unlabelled", "unlabeled")


class ImageFolder(Source):
    """image_folder: one folder per class, with image files at any depth.

    `path` holds train/CLASS/ and test/CLASS/, or CLASS/ at once, of which a test part is drawn. A folder `unlabelled`
    beside them holds images without label. Hidden files are passed over, other files counted.
    """

    local: ClassVar[bool] = True
    truth_hint: ClassVar[str] = "a table can name them: data.source=csv, with a column true_label"

    class Options(LocalOptions):
        image_size: int | None = Field(
            32, ge=1, le=4096, description="resize the shorter side to this many pixels and cut the centre square"
        )

    def _folder(self, split: str) -> Path | None:
        path = self.options.existing()
        if not path.is_dir():
            raise UserError(Problem(f"{path} is a file, not a folder", "data.path"))
        inner = path / split
        return inner if inner.is_dir() else path if split == "train" else None

    def _listing(self) -> dict[str, list[tuple[Path, str]]]:
        """Images of each split with the name of their class, sorted."""
        return {split: _images(folder) for split in ("train", "test") if (folder := self._folder(split))}

    def _extra(self) -> list[Path]:
        folder = next((self.options.path / n for n in UNLABELLED if (self.options.path / n).is_dir()), None)
        return _walk(folder)[0] if folder else []

    def files(self) -> list[Path]:
        return [file for images in self._listing().values() for file, _ in images] + self._extra()

    def drawn_test(self) -> bool:
        return self._folder("test") is None

    def read(self) -> Reading:
        listing = self._listing()
        class_names = sorted({name for _, name in listing["train"]})
        if not class_names:
            hint = f"expected {self.options.path}/CLASS/IMAGE or {self.options.path}/train/CLASS/IMAGE\n"
            hint += f"image files end in {', '.join(sorted(ENDINGS))}"
            raise UserError(Problem(f"no image in any class folder of {self._folder('train')}", "data.path", hint=hint))
        unknown = sorted({name for _, name in listing.get("test", [])} - set(class_names))
        if unknown:
            text = f"classes in test/ that train/ does not have: {', '.join(unknown[:10])}"
            raise UserError(Problem(text, "data.path", hint=f"train/ has: {', '.join(class_names[:20])}"))
        where = str(self._folder("train"))
        check_count(class_names, len(listing["train"]), self.options.classes, "class folders", "data.path", where)
        parts = {split: self._to_split(images, class_names) for split, images in listing.items()}
        return Reading(
            parts["train"], parts.get("test"), tuple(class_names), extra=self._extra() or None, notes=self._notes()
        )

    def _to_split(self, images: list[tuple[Path, str]], class_names: list[str]) -> Split[Images]:
        position = {name: i for i, name in enumerate(class_names)}
        labels = np.array([position[name] for _, name in images], dtype=np.int64)
        files = [file for file, _ in images]
        return Split(files, labels, ids=[os.path.relpath(file, self.options.path) for file in files])

    def _notes(self) -> tuple[str, ...]:
        others = [f for split in ("train", "test") if (folder := self._folder(split)) for f in _others(folder)]
        return (
            (f"{len(others):,} files are no images and were passed over, for instance {others[0]}",) if others else ()
        )


def _classes(folder: Path) -> list[Path]:
    """Class folders. Where classes lie at the top, the folder of unlabelled images beside them is none."""
    return sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith(".") and d.name not in UNLABELLED)


def _images(folder: Path) -> list[tuple[Path, str]]:
    return [(file, d.name) for d in _classes(folder) for file in _walk(d)[0]]


def _others(folder: Path) -> list[Path]:
    return [file for d in _classes(folder) for file in _walk(d)[1]]


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files below `folder`: images by their ending, and others. Sorted; hidden ones left out."""
    images, others = [], []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(n for n in names if not n.startswith(".")):
            file = Path(place, name)
            (images if file.suffix.lower() in ENDINGS else others).append(file)
    return images, others
