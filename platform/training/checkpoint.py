"""Checkpoints of a trial: written whole or not at all; a file that is none gives an error that says why."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from platform.core.errors import Problem, UserError
from platform.core.files import atomic

__all__ = ["FORMAT", "read", "write"]

FORMAT = 1
_RESTART = "delete it, and the trial starts anew"


def write(path: str | Path, key: str, content: dict[str, Any]) -> None:
    """Write beside the target, flush to the disk, rename over it: a reader sees the old file or the new one.

    Raises UserError where the folder cannot be written or is full; nothing is left behind.
    """
    path = Path(path)
    try:
        with atomic(path) as temporary:
            torch.save({"kurabe": FORMAT, "key": key, **content}, temporary)
    except (OSError, RuntimeError) as error:
        raise UserError(Problem(f"the checkpoint cannot be written: {error}", where=str(path))) from error


def read(path: str | Path, key: str, device: torch.device) -> dict[str, Any]:
    """Read what `write` wrote. Only data is read: a checkpoint cannot run code.

    Raises UserError for a file that is missing, half written, foreign, of another format or of another trial.
    """
    path = Path(path)
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(Problem("no such checkpoint", where=str(path))) from error
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
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
    return content
