"""Checkpoints of a trial: written whole or not at all, with a checksum; for a file that is none, an error says why.

A checkpoint is what torch.save writes, and 23 bytes with the CRC-32 of that. torch.load does not check the sums that
its own format has. They are in the file so that they go where it goes: a second name, another machine.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path
from typing import Any

import torch

from platform.core.errors import Problem, UserError
from platform.core.files import atomic

__all__ = ["FORMAT", "read", "write"]

FORMAT = 1
_RESTART = "delete it, and the trial starts anew"
_TRAILER = "\nkurabe crc32 {:08x}\n"
_TRAILER_BYTES = len(_TRAILER.format(0))
_BLOCK = 2**20


def write(path: str | Path, key: str, content: dict[str, Any]) -> None:
    """Write beside the target, flush to the disk, rename over it: a reader sees the old file or the new one.

    Raises UserError where the folder cannot be written or is full; nothing is left behind.
    """
    path = Path(path)
    try:
        with atomic(path) as temporary:
            torch.save({"kurabe": FORMAT, "key": key, **content}, temporary)
            trailer = _TRAILER.format(_checksum(temporary, temporary.stat().st_size))
            with open(temporary, "ab") as file:
                file.write(trailer.encode())
    except (OSError, RuntimeError) as error:
        raise UserError(Problem(f"the checkpoint cannot be written: {error}", where=str(path))) from error


def read(path: str | Path, key: str, device: torch.device) -> dict[str, Any]:
    """Read what `write` wrote. Only data is read: a checkpoint cannot run code.

    Raises UserError for a file that is missing, half written, damaged, foreign, of another format or of another trial.
    """
    path = Path(path)
    try:
        expected = _expected(path)
        if expected is not None and expected != _checksum(path, path.stat().st_size - _TRAILER_BYTES):
            raise UserError(Problem("damaged: its checksum does not match", where=str(path), hint=_RESTART))
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(Problem("no such checkpoint", where=str(path))) from error
    except UserError:
        raise
    except Exception as error:  # of a file without a checksum: torch.load raises what its bytes bring about
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"not a checkpoint, or only half of one ({reason})"
        raise UserError(Problem(message, where=str(path), hint=_RESTART)) from error
    if not isinstance(content, dict) or "kurabe" not in content:
        raise UserError(Problem("not a checkpoint of a trial", where=str(path), hint=_RESTART))
    if content["kurabe"] != FORMAT:
        message = f"checkpoint of format {content['kurabe']}; this version reads {FORMAT}"
        raise UserError(Problem(message, where=str(path), hint=_RESTART))
    if content["key"] != key:
        raise UserError(Problem(f"checkpoint of trial {content['key']}, not of {key}", where=str(path)))
    if expected is None:
        raise UserError(Problem("it has no checksum: damaged, or half written", where=str(path), hint=_RESTART))
    return content


def _expected(path: Path) -> int | None:
    """The checksum at the end of the file; None where there is none."""
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TRAILER_BYTES))
        found = re.fullmatch(rb"\nkurabe crc32 ([0-9a-f]{8})\n", file.read())
    return int(found[1], 16) if found else None


def _checksum(path: Path, length: int) -> int:
    """CRC-32 of the first `length` bytes, in blocks: a checkpoint may be as large as the memory that is left."""
    checksum = 0
    with open(path, "rb") as file:
        while length > 0 and (block := file.read(min(_BLOCK, length))):
            checksum = zlib.crc32(block, checksum)
            length -= len(block)
    return checksum
