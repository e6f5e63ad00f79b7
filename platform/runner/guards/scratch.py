"""The sweep's temporary folder on the driver's machine: Ray's sockets and logs, Tune's records. Removed at the end.

A killed driver leaves it behind. It names its owner, so that the next start of the same sweep removes it. Temporary
files that a kill left in results/NAME are removed then, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from platform.runner.guards.ray_processes import is_abandoned, owner_value

__all__ = ["remove_abandoned", "scratch_folder"]

_PREFIX, _OWNER = "kurabe-", "OWNER"
_HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{8}\.new")  # core/files.atomic
_LONGEST = len("/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")
_SOCKET_PATH = 107
"""Bytes that a socket's path may have (unix(7)); Ray puts sockets below its temporary folder."""

REMOVE_SECONDS = 2.0


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A new folder for a sweep in `folder` (results/NAME) that exists inside the block."""
    place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parent()))
    try:
        (place / _OWNER).write_text(owner_value(folder))
        yield place
    finally:
        _remove(place)


def _parent() -> str:
    """The system's folder for temporary files, or /tmp where its name is too long for Ray's sockets."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) + len("/kurabe-xxxxxxxx") + _LONGEST <= _SOCKET_PATH else "/tmp"


def _remove(place: Path) -> None:
    """Remove the folder, again while processes that are ending still write to it."""
    until = time.monotonic() + REMOVE_SECONDS
    shutil.rmtree(place, ignore_errors=True)
    while place.exists() and time.monotonic() < until:
        time.sleep(0.1)
        shutil.rmtree(place, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed drivers of the sweep in `folder` left. Call while holding its ledger, after `end_orphans`."""
    for parent in {_parent(), tempfile.gettempdir()}:
        for note in Path(parent).glob(f"{_PREFIX}*/{_OWNER}"):
            with contextlib.suppress(OSError, ValueError):
                ours = note.stat().st_uid == os.getuid() and not note.parent.is_symlink()
                if ours and is_abandoned(note.read_text(), folder):
                    _remove(note.parent)
    for path in folder.rglob(".*.new"):
        if _HALF_WRITTEN.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()
