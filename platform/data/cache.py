"""The folder of decoded images: its place, hashes of files, locks, and publishing a whole folder at once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from platform.core.errors import Problem, UserError
from platform.core.files import atomic, lock, unreadable
from platform.data.threads import in_threads

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "no write permission",
    errno.EPERM: "no write permission",
    errno.EROFS: "the disk is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
}
_HASHED_ALWAYS = 64 * 2**20  # bytes; few files up to this size in all are read at every open, the rest only if changed


def root() -> Path:
    """`$KURABE_CACHE`, or ~/.cache/kurabe."""
    given = os.environ.get("KURABE_CACHE")
    return Path(given).expanduser().absolute() if given else Path.home() / ".cache" / "kurabe"


@contextlib.contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn an error of the disk (full, read-only, no permission) into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise UserError(_disk_problem(doing, _DISK[error.errno], error.filename)) from error


def _disk_problem(doing: str, reason: str, path: str | Path | None = None) -> Problem:
    hint = f"free some space there, or set KURABE_CACHE to a folder with room (now: {root()})"
    return Problem(f"{doing}: {reason}" + (f" ({path})" if path else ""), where="image cache", hint=hint)


def require_space(folder: Path, needed: int) -> None:
    """Check the free space: UserError where the disk of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        text = f"the disk is full: {needed / 2**20:.0f} MiB are needed, {free / 2**20:.0f} MiB are free"
        raise UserError(_disk_problem("cannot store the decoded images", text, folder))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock file, so that one of several processes does the work. Yields False where a file system has no locks.

    Correctness does not depend on it: the result is published whole by a rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as handle:
        try:
            held = lock(handle, wait=True)
        except OSError:
            held = False
        yield held  # closing the file releases the lock, also when the process is killed


def publish(final: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary folder, then rename it to `final`: other processes see all of it or nothing.

    An existing `final` (damaged, or made by a process without locks) is replaced.
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent))
    try:
        write(temporary)
        with contextlib.suppress(OSError):
            temporary.chmod(0o755)  # mkdtemp's 0700 would shut out other users of a shared cache
        try:
            temporary.rename(final)
        except OSError:
            aside = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".old", dir=final.parent))
            final.rename(aside / "old")
            temporary.rename(final)
            shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that no reader ever sees half of it; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, or a placeholder for what cannot be read (decoding reports which and why)."""
    if reason := unreadable(path):
        return f"unreadable: {reason}"
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable {error.errno}"


def hash_files(files: list[Path]) -> str:
    """sha256 over the names (below their common folder) and bytes of `files`.

    Few small files are read each time. Of many, or large ones, only those are read whose size or modification time
    (in nanoseconds) differs from an index kept in the cache.
    """
    if not files:
        return hashlib.sha256().hexdigest()
    files = [f.absolute() for f in files]
    top = os.path.commonpath([f.parent for f in files])
    sizes = [_stamp(f) for f in files]
    if len(files) <= 16 and sum(size for size, _ in sizes) <= _HASHED_ALWAYS:
        hashes = [hash_file(f) for f in files]
    else:
        hashes = _hash_with_index(files, sizes, top)
    total = hashlib.sha256()
    for file, digest in zip(files, hashes, strict=True):
        total.update(f"{os.path.relpath(file, top)}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL character in the name
        return (-1, -1)
    return (stat.st_size, stat.st_mtime_ns)


def _hash_with_index(files: list[Path], stamps: list[tuple[int, int]], top: str) -> list[str]:
    index_path = root() / "hashes" / f"{hashlib.sha256(top.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.json"
    try:
        index = json.loads(index_path.read_text())
    except (OSError, ValueError):
        index = {}
    names = [os.path.relpath(f, top) for f in files]
    stale = [i for i, name in enumerate(names) if index.get(name, [])[:2] != list(stamps[i])]

    def renew(start: int) -> None:
        for i in stale[start : start + 64]:
            index[names[i]] = [*stamps[i], hash_file(files[i])]

    in_threads(renew, range(0, len(stale), 64), 4)
    if stale:
        with contextlib.suppress(OSError):  # only a shortcut: without it the files are read again
            write_atomically(index_path, json.dumps(index).encode())
    return [index[name][2] for name in names]
