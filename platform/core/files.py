"""Files that are written whole or not at all, held by one process, or given a name that is free."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["DISK_FULL", "atomic", "free_name", "lock"]

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of a used-up quota."""


@contextlib.contextmanager
def atomic(path: Path, sync: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it is renamed over `path` where the block ends without an error.

    A reader, also after a kill, sees the old file or the new one. sync: flush the content to the disk before, so that
    this holds for a machine that loses power, too. Nothing is left behind by an error.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        yield temporary
        if sync:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        # Where both are names of one file, the rename does nothing and leaves the temporary one.
        temporary.unlink(missing_ok=True)


def lock(file: IO[Any], wait: bool) -> bool:
    """Hold `file` against other processes until it is closed, also by a kill. False: another one has it.

    wait: until it is free. Raises OSError where the file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def free_name(name: Callable[[int], str], taken: Callable[[str], bool]) -> str:
    """name(1), name(2), ...: the first one that is not taken."""
    number = 1
    while taken(candidate := name(number)):
        number += 1
    return candidate
