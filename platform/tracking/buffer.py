"""Events that wait for MLflow: in memory while they are few, then in a file of the results folder."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from threading import Lock
from typing import Any

FILE = "mlflow_undelivered.jsonl"
LIMIT = 20_000  # events in memory, some 1 kB each


class Buffer:
    """First in, first out. What an earlier session left in the file comes first. Safe for one writer and one reader.

    The order is: `_taken` (under way), `_front` (given back), the file, `_back`.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.path = folder / FILE
        self.limit = limit
        self._taken: list[dict[str, Any]] = []
        self._front: deque[dict[str, Any]] = deque()
        self._back: deque[dict[str, Any]] = deque()
        self._lock = Lock()
        self._read = 0  # bytes of the file that were taken

    def __len__(self) -> int:
        """Events in memory; those in the file are not counted."""
        return len(self._taken) + len(self._front) + len(self._back)

    @property
    def empty(self) -> bool:
        return not len(self) and not self._in_file()

    def put(self, *events: dict[str, Any]) -> None:
        """Add at the end. Raises OSError where the memory is full and the file cannot be written; nothing is lost."""
        with self._lock:
            self._back.extend(events)
            if len(self._back) > self.limit:
                self._spill(self._back)

    def take(self, count: int) -> list[dict[str, Any]]:
        """Up to `count` events, oldest first."""
        with self._lock:
            taken: list[dict[str, Any]] = []
            while self._front and len(taken) < count:
                taken.append(self._front.popleft())
            if len(taken) < count:
                taken += self._read_file(count - len(taken))
            while self._back and len(taken) < count and not self._in_file():
                taken.append(self._back.popleft())
            self._taken = list(taken)
            return taken

    def give_back(self, events: list[dict[str, Any]]) -> None:
        """What of the last `take` did not arrive; the rest did."""
        with self._lock:
            self._taken.clear()
            self._front.extendleft(reversed(events))

    def save(self) -> int:
        """Everything that waits goes to the file; returns how many events it holds."""
        with self._lock:
            rest = self._read_file(None)
            waiting = [*self._taken, *self._front, *rest, *self._back]
            if waiting:
                text = "".join(json.dumps(event) + "\n" for event in waiting)
                temporary = self.path.with_suffix(".tmp")
                self.path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_text(text)
                temporary.replace(self.path)
                self._read = 0
            self._taken.clear()
            self._front.clear()
            self._back.clear()
            return len(waiting)

    def forget_delivered(self) -> None:
        """All that was taken has arrived: a file that was read to its end goes."""
        with self._lock:
            if not self._taken and not self._front and not self._in_file():
                self.path.unlink(missing_ok=True)
                self._read = 0

    def _in_file(self) -> bool:
        try:
            return self.path.stat().st_size > self._read
        except FileNotFoundError:
            return False

    def _spill(self, events: deque[dict[str, Any]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            file.seek(-1, 2) if file.tell() else None
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + "".join(json.dumps(event) + "\n" for event in events).encode())
        events.clear()

    def _read_file(self, count: int | None) -> list[dict[str, Any]]:
        """The next events of the file; a line torn by a kill is passed over."""
        if not self._in_file():
            return []
        found: list[dict[str, Any]] = []
        with self.path.open("rb") as file:
            file.seek(self._read)
            while count is None or len(found) < count:
                line = file.readline()
                if not line:
                    break
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
            self._read = file.tell()
        return found
