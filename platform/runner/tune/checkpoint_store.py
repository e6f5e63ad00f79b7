"""The store of trials' states between evaluations: results/NAME/checkpoints/KEY.pt, written by whoever can reach it.

A worker that sees the sweep's folder (same machine, or shared storage) writes there itself. One that does not hands the
bytes to a small actor beside the driver. So no shared storage is needed, and a trial that restarts anywhere goes on.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from platform.core.files import atomic
from platform.core.spec import branch_point
from platform.runner.guards.disk_guard import FreeSpace
from platform.runner.messages import Workplace

__all__ = ["CheckpointStore", "Checkpoints"]

LOOK_SECONDS = 0.2


class CheckpointStore:
    """Runs as an actor on the driver's machine for workers that cannot see the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def write(self, key: str, content: bytes) -> None:
        with atomic(self._folder / f"{key}.pt") as temporary:
            temporary.write_bytes(content)

    def free(self) -> int:
        return shutil.disk_usage(self._folder).free

    def read(self, key: str) -> bytes | None:
        path = self._folder / f"{key}.pt"
        return path.read_bytes() if path.exists() else None


class _RemoteFreeSpace(FreeSpace):
    """The free space of the driver's disk, asked for through the store."""

    def __init__(self, store: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._store = store

    def free(self) -> int:
        answer: Any = ray.get(self._store.free.remote())
        return answer


class Checkpoints:
    """The worker's side. Reading the driver's token in the folder means that the folder is the same.

    Where less than `disk_floor` is free, `save` waits, for `disk_wait` seconds at most.
    """

    def __init__(self, workplace: Workplace) -> None:
        self._folder = workplace.checkpoints
        self._stop_file = workplace.stop_file
        token = workplace.token_file
        self._visible = token.exists() and token.read_text() == workplace.token
        self._next_look = 0.0
        self._store = None if self._visible else ray.get_actor(workplace.store)
        space = (self._folder, workplace.disk_floor, workplace.disk_wait)
        self._space = FreeSpace(*space) if self._visible else _RemoteFreeSpace(self._store, *space)

    def stop_asked(self) -> bool:
        """Whether the driver wants trials to save and stop where they are: a file in the folder, looked for now and
        then. A worker that does not see the folder keeps its last checkpoint."""
        now = time.monotonic()
        if not self._visible or now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        return self._stop_file.exists()

    def save(self, key: str, trial: Any, beside: dict[str, Any]) -> None:
        """Save the trial with `beside` (plain data) in one atomic write."""
        self._space.write(lambda: self._save(key, trial, beside), stop=self.stop_asked)

    def _save(self, key: str, trial: Any, beside: dict[str, Any]) -> None:
        if self._store is None:
            trial.save(self._folder / f"{key}.pt", beside)
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "trial.pt"
            trial.save(path, beside)
            ray.get(self._store.write.remote(key, path.read_bytes()))

    def load(self, key: str, trial: Any) -> dict[str, Any] | None:
        """Bring the trial back, and return what was saved beside it; None where there is no checkpoint."""
        return self._read(key, trial.load)

    def branch(self, state: str, trial: Any) -> dict[str, Any]:
        """Bring the trial to where another one was: KEY@EVALUATION (branch_states.py); what was saved beside that."""
        parent, _ = branch_point(state)
        beside = self._read(state, lambda path: trial.branch(path, parent))
        if beside is None:
            raise FileNotFoundError(f"the state that this trial starts from is gone: {self._folder / state}.pt")
        return beside

    def _read(self, key: str, load: Callable[[Path], dict[str, Any]]) -> dict[str, Any] | None:
        if self._store is None:
            path = self._folder / f"{key}.pt"
            return load(path) if path.exists() else None
        content: Any = ray.get(self._store.read.remote(key))
        if content is None:
            return None
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "trial.pt"
            path.write_bytes(content)
            return load(path)
