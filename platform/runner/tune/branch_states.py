"""States that children of population-based training start from: results/NAME/checkpoints/KEY@EVALUATION.pt."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from platform.core.files import atomic

__all__ = ["BranchStates"]


class BranchStates:
    """The driver's side. A checkpoint is replaced as a whole by its trial, so a second name for it costs no copying."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, key: str, evaluation: int) -> None:
        """Keep the state that the trial saved with this evaluation. Before it trains on; a trial that comes back sends
        its last evaluation again, when its checkpoint may be further on: what is kept stays."""
        source, target = self._folder / f"{key}.pt", self._folder / f"{key}@{evaluation}.pt"
        if target.exists():
            return
        with contextlib.suppress(FileNotFoundError), atomic(target, sync=False) as temporary:
            # FileNotFoundError: the trial was away from its checkpoint, and no trial can go on from here.
            try:
                os.link(source, temporary)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links
                shutil.copyfile(source, temporary)

    def drop(self, evaluation: int, wanted: Collection[str]) -> None:
        """Delete the states at this evaluation but those of `wanted` (KEY@EVALUATION)."""
        for path in self._folder.glob(f"*@{evaluation}.pt"):
            if path.stem not in wanted:
                path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all of them."""
        for path in self._folder.glob("*@*.pt"):
            path.unlink(missing_ok=True)
