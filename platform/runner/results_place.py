"""The folder of a sweep, results/NAME: made, or moved aside for a new start, and checked."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from platform.core.errors import Problem, UserError
from platform.core.files import free_name, lock

__all__ = ["ResultsPlace", "prepare_folder"]


class ResultsPlace:
    """A sweep's folder, made just now or found. aside: where the folder of that name was moved to, if there was one."""

    def __init__(self, folder: Path, made: bool, aside: Path | None) -> None:
        self._folder, self._made, self._aside = folder, made, aside

    def undo(self) -> None:
        """Leave everything as it was before, where the folder is new. Only while holding its ledger."""
        if self._made:
            shutil.rmtree(self._folder, ignore_errors=True)
            if self._aside is not None and not self._folder.exists():
                self._aside.rename(self._folder)


@contextlib.contextmanager
def prepare_folder(folder: Path, floor: int, fresh: bool) -> Iterator[ResultsPlace]:
    """Make `folder` and see that it is writable and has room. A folder that was moved aside is held inside the block.

    floor: MiB that must be free (watch.disk_floor). fresh: an earlier folder of that name is moved aside to NAME.1, .2,
    ..., never deleted; not while a sweep runs in it. Raises UserError.
    """
    with contextlib.ExitStack() as held:
        try:
            aside = _move_aside(folder, held) if fresh and folder.exists() else None
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            _check_room(folder, floor)
            probe = folder / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            hint = "another place: --results DIR"
            raise UserError(Problem(f"cannot write there: {error.strerror}", str(folder), hint=hint)) from error
        yield ResultsPlace(folder, made, aside)


def _move_aside(folder: Path, held: contextlib.ExitStack) -> Path:
    """Rename the folder while holding its ledger, for as long as `held`: who opened it just before must not use it."""
    path = folder / "ledger.jsonl"
    if path.exists():
        ledger = held.enter_context(path.open("ab"))
        if not lock(ledger, wait=False):
            raise UserError(
                Problem(
                    f"another sweep is running in {folder}{_holder(folder)}; its folder stays where it is",
                    key="--fresh",
                    hint="wait for it, stop it, or give this one another name: name=OTHER",
                )
            )
    name = free_name(lambda number: f"{folder.name}.{number}", lambda name: folder.with_name(name).exists())
    return folder.rename(folder.with_name(name))


def _holder(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return f" (process {(folder / 'ledger.pid').read_text().strip()})"
    return ""


def _check_room(folder: Path, floor: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < floor << 20:
        message = f"only {free / 2**20:.0f} MiB are free there; a sweep needs {floor} or more (watch.disk_floor)"
        hint = "free some space, or take another place: --results DIR"
        raise UserError(Problem(message, str(folder), hint=hint))
