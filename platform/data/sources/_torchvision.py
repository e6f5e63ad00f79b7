"""Base of the torchvision sources: download once, say what to do offline, read the arrays."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from platform.core.errors import Problem, UserError
from platform.core.files import DISK_FULL
from platform.data import cache
from platform.data.sources.source import Images, Source, Split

_TIMEOUT = 30  # seconds without an answer; torchvision itself would wait for ever
_NOT_WRITABLE = (*DISK_FULL, errno.EACCES, errno.EROFS)


class TorchvisionSource(Source):
    """Base of the sources that torchvision reads. Subclasses name its class and the files it reads and downloads."""

    dataset: ClassVar[str]

    @property
    def dataset_class(self) -> Any:
        import torchvision.datasets

        return getattr(torchvision.datasets, self.dataset)

    def archives(self) -> list[tuple[Path, str, str]]:
        """(where to put it, URL, md5) of each file that is downloaded."""
        known = self.dataset_class
        return [(self.downloads / known.filename, known.url, known.tgz_md5)]

    def files(self) -> list[Path]:
        known = self.dataset_class
        folder = self.downloads / known.base_folder
        meta = [[known.meta["filename"]]] if hasattr(known, "meta") else []
        return [folder / entry[0] for entry in [*known.train_list, *known.test_list, *meta]]

    def prepare(self) -> None:
        if all(f.is_file() for f in self.files()):
            return
        with cache.locked(self.downloads / f".{self.dataset}.lock"):
            if not all(f.is_file() for f in self.files()):
                with self._offline_help():
                    self.download()

    def download(self) -> None:
        """Fetch and unpack, as torchvision does: a bar on the terminal, md5 checked, a file already there is taken."""
        self.dataset_class(str(self.downloads), train=True, download=True)

    def load(self, **arguments: Any) -> Any:
        """torchvision's dataset object, which checks the md5 of the files."""
        try:
            return self.dataset_class(str(self.downloads), **arguments)
        except (RuntimeError, EOFError, ValueError, OSError) as error:
            names = "\n".join(str(f) for f in self.files())
            text = f"the downloaded files of {self.dataset} are damaged: {error}"
            raise UserError(Problem(text, "data.source", hint=f"delete them and start again:\n{names}")) from error

    @contextmanager
    def _offline_help(self) -> Iterator[None]:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(_TIMEOUT)
        try:
            yield
        except (OSError, RuntimeError, EOFError) as error:
            if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
                raise
            lines = [
                f"put {path.name} (md5 {md5}) into {path.parent}\n    from {url}" for path, url, md5 in self.archives()
            ]
            reason = str(error).partition("\n")[0]
            text = f"{self.dataset} is not on this machine and cannot be downloaded: {reason}"
            raise UserError(Problem(text, "data.source", hint="\n".join(lines))) from error
        finally:
            socket.setdefaulttimeout(before)


def split(images: Any, labels: Sequence[int] | np.ndarray, channels_last: bool = False) -> Split[Images]:
    """A split of torchvision's arrays: [N, C, H, W] or [N, H, W], or [N, H, W, C] with `channels_last`."""
    pixels = np.asarray(images)
    return Split(pixels.transpose(0, 3, 1, 2) if channels_last else pixels, np.asarray(labels, dtype=np.int64))
