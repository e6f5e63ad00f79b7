"""Where trials keep their state between evaluations: results/NAME/checkpoints/KEY.pt, written by whoever can reach it.

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
from platform.runner.guards.disk_guard import Room

STOP = "STOP"
LOOK_SECONDS = 0.2


class Store:
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


class _RoomThere(Room):
    """Of the driver's disk, asked for through the store."""

    def __init__(self, store: Any, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._store = store

    def free(self) -> int:
        answer: Any = ray.get(self._store.free.remote())
        return answer


class Checkpoints:
    """The worker's side. `token` is what the driver wrote into the folder: seeing it means the folder is the same.

    floor, wait: where fewer bytes are free, `save` holds for so many seconds at most.
    """

    def __init__(self, folder: Path, token: str, store: str, floor: int = 0, wait: float = 0.0) -> None:
        self._folder = folder
        mark = folder / "TOKEN"
        self._visible = mark.exists() and mark.read_text() == token
        self._next_look = 0.0
        self._store = None if self._visible else ray.get_actor(store)
        self._room = Room(folder, floor, wait) if self._visible else _RoomThere(self._store, folder, floor, wait)

    def stop_asked(self) -> bool:
        """Whether the driver wants trials to save and stop where they are: a file in the folder, looked for now and
        then. A worker that does not see the folder keeps its last checkpoint."""
        now = time.monotonic()
        if not self._visible or now < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        return (self._folder / STOP).exists()

    def save(self, key: str, trial: Any, beside: dict[str, Any]) -> None:
        """Save the trial with `beside` (plain data) in one atomic write."""
        self._room.write(lambda: self._save(key, trial, beside), stop=self.stop_asked)

    def _save(self, key: str, trial: Any, beside: dict[str, Any]) -> None:
        if self._store is None:
            trial.save(self._folder / f"{key}.pt", beside)
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "trial.pt"
            trial.save(path, beside)
            ray.get(self._store.write.remote(key, path.read_bytes()))

    def load(self, key: str, trial: Any) -> dict[str, Any] | None:
        """Bring the trial back; what was saved beside it, or None when there is no checkpoint."""
        return self._read(key, trial.load)

    def branch(self, state: str, trial: Any) -> dict[str, Any]:
        """Bring the trial to where another one was: KEY@EVALUATION (platform/runner/tune/branch_states.py)."""
        parent, _ = branch_point(state)
        found = self._read(state, lambda path: trial.branch(path, parent))
        if found is None:
            raise FileNotFoundError(f"the state that this trial starts from is gone: {self._folder / state}.pt")
        return found

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
