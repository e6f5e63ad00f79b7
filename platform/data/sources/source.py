"""The contract of a data source: the files that decide its content, and the images in them, encoded or raw.

A source neither decodes, caches, hashes nor draws: `platform.data.image_store` does that once for all of them. A new
source is one file in this folder with one subclass of `Source` that defines `read` (and `files`, where it reads any).
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from platform.core.errors import Problem, UserError
from platform.data.dataset import Augment, Image, Images, Split

__all__ = ["Image", "Images", "LocalOptions", "Reading", "Source", "Split"]


@dataclass
class Reading:
    """The result of `Source.read`. test: None = `test_fraction` of the rows is drawn, stratified, by the data seed."""

    train: Split[Images]
    test: Split[Images] | None
    class_names: tuple[str, ...]
    extra: Images | None = None
    notes: tuple[str, ...] = ()


class Source:
    """Base of all sources."""

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    local: ClassVar[bool] = False  # reads the user's own files, whose labels may be wrong
    flip: ClassVar[bool] = True  # a mirrored image still belongs to its class
    truth_hint: ClassVar[str] = "the source gives none"  # how a user names true labels, where they can

    def __init__(self, options: Any, downloads: Path, seed: int) -> None:
        self.options = options
        self.downloads = downloads
        self.seed = seed

    def prepare(self) -> None:
        """Download the files that are missing."""

    def files(self) -> list[Path]:
        """Files whose bytes decide what `read` returns. Empty where the content is fixed by the code."""
        return []

    def drawn_test(self) -> bool:
        """Whether `read` will return no test split, so that the data seed decides it. Cheap."""
        return False

    def read(self) -> Reading:
        """The splits and the class names; see `Split` for the form of images and labels."""
        raise NotImplementedError(f"{type(self).__name__} does not define read()")

    def augment(self, image_shape: tuple[int, int, int]) -> Augment:
        """Augmentations that suit the images. The crop's padding is an eighth of the width as in USB: 4 at 32."""
        return Augment(flip=getattr(self.options, "flip", self.flip), pad=max(1, image_shape[-1] // 8))

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(cls) or "").partition("\n")[0]


class LocalOptions(Source.Options):
    """Options of every source that reads the user's own files."""

    path: Path = Field(description="file or folder to read; relative paths start at the current folder")
    image_size: int | None = Field(
        None, ge=1, le=4096, description="resize the shorter side to this many pixels and cut the centre square"
    )
    channels: Literal["auto", "rgb", "gray"] = Field("auto", description="auto: gray where every image is")
    classes: int | None = Field(
        None, ge=1, description="how many classes there are; asked for where they are more than a tenth of the images"
    )
    flip: bool = Field(True, description="a mirrored image still belongs to its class")
    test_fraction: float = Field(0.2, gt=0, lt=1, description="test part, drawn where the files do not come with one")

    def existing(self) -> Path:
        """The path, or a UserError that says what is missing. Of what kind it is remains to be seen."""
        try:
            path = self.path.expanduser()
        except RuntimeError as error:
            raise UserError(Problem(f"{self.path}: {error}", "data.path")) from error
        if not os.path.exists(path):
            parent = next(p for p in path.absolute().parents if os.path.exists(p))
            hint = f"the nearest folder that exists is {parent}"
            raise UserError(Problem(f"no such file or folder: {path}", "data.path", hint=hint))
        return path
