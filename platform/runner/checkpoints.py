"""Where trials keep their state between evaluations: results/NAME/checkpoints/KEY.pt, written by whoever can reach it.

A worker that sees the sweep's folder (same machine, or shared storage) writes there itself. One that does not hands the
bytes to a small actor beside the driver. So no shared storage is needed, and a trial that restarts anywhere goes on.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import ray


class Store:
    """Runs as an actor on the driver's machine for workers that cannot see the folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def write(self, key: str, content: bytes) -> None:
        target = self._folder / f"{key}.pt"
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, target)

    def read(self, key: str) -> bytes | None:
        path = self._folder / f"{key}.pt"
        return path.read_bytes() if path.exists() else None


class Checkpoints:
    """The worker's side. `token` is what the driver wrote into the folder: seeing it means the folder is the same."""

    def __init__(self, folder: Path, token: str, store: str) -> None:
        self._folder = folder
        mark = folder / "TOKEN"
        self._visible = mark.exists() and mark.read_text() == token
        self._store = None if self._visible else ray.get_actor(store)

    def save(self, key: str, trial: Any, beside: dict[str, Any]) -> None:
        """Save the trial with `beside` (plain data) in one atomic write."""
        if self._store is None:
            trial.save(self._folder / f"{key}.pt", beside)
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "trial.pt"
            trial.save(path, beside)
            ray.get(self._store.write.remote(key, path.read_bytes()))

    def load(self, key: str, trial: Any) -> dict[str, Any] | None:
        """Bring the trial back; what was saved beside it, or None when there is no checkpoint."""
        if self._store is None:
            path = self._folder / f"{key}.pt"
            return trial.load(path) if path.exists() else None
        content: Any = ray.get(self._store.read.remote(key))
        if content is None:
            return None
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "trial.pt"
            path.write_bytes(content)
            return trial.load(path)
