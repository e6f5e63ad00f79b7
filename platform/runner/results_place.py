"""The folder of a sweep, results/NAME: made, or moved aside for a new start, and checked."""

from __future__ import annotations

import shutil
from pathlib import Path

from platform.core.errors import Problem, UserError
from platform.core.files import free_name

__all__ = ["prepare_folder"]


def prepare_folder(folder: Path, floor: int, fresh: bool) -> None:
    """Make `folder` and see that it is writable and has room.

    floor: MiB that must be free (watch.disk_floor). fresh: an earlier folder of that name is moved aside to NAME.1, .2,
    ..., never deleted. Raises UserError.
    """
    try:
        if fresh and folder.exists():
            free = free_name(lambda number: f"{folder.name}.{number}", lambda name: folder.with_name(name).exists())
            folder.rename(folder.with_name(free))
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, floor)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        hint = "another place: --results DIR"
        raise UserError(Problem(f"cannot write there: {error.strerror}", str(folder), hint=hint)) from error


def _check_room(folder: Path, floor: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < floor << 20:
        message = f"only {free / 2**20:.0f} MiB are free there; a sweep needs {floor} or more (watch.disk_floor)"
        hint = "free some space, or take another place: --results DIR"
        raise UserError(Problem(message, str(folder), hint=hint))
