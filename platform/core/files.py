"""Files that are written whole or not at all, held by one process, given a name that is free, or safe to read."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

__all__ = ["DISK_FULL", "atomic", "free_name", "lock", "printable", "unreadable"]

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


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_BIDIRECTIONAL = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def unreadable(path: Path | str) -> str:
    """The reason why `path` is no file on a disk with something in it, in words; "" where it is one.

    Nothing is opened: a named pipe, and some files of the kernel, which say that they are empty, would wait for ever.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except ValueError:
        return "the name holds a NUL character"
    kind = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "")
    if kind:
        return f"{kind}, not a regular file"
    if found.st_dev == _kernel_device():
        return "a file of the kernel, not of a disk"
    return "" if found.st_size else "an empty file"


def _kernel_device() -> int | None:
    try:
        return os.stat("/proc").st_dev if os.path.ismount("/proc") else None
    except OSError:
        return None


def printable(text: str) -> str:
    """`text` with control characters, and bytes of a file name that are not UTF-8, as escapes: what can be printed."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that Python kept of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDIRECTIONAL:
        return character.encode("unicode_escape").decode("ascii")
    return character
