"""A disk that is nearly full: the sweep pauses before it writes, says so, and goes on when there is space again."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from platform.core.files import DISK_FULL
from platform.runner.guards import signals

__all__ = ["DiskGuard", "FreeSpace", "is_full"]

POLL_SECONDS = 1.0
LOOK_SECONDS = 1.0


class FreeSpace:
    """Free space below a folder. floor: bytes that stay free. wait: seconds that a pause may last."""

    def __init__(self, folder: Path, floor: int, wait: float) -> None:
        self.folder, self.floor, self.wait = folder, floor, wait

    def free(self) -> int:
        """Bytes."""
        return shutil.disk_usage(self.folder).free

    def is_short(self) -> bool:
        """Whether less than the floor is free."""
        return self.free() < self.floor

    def write(self, write: Callable[[], Any], stop: Callable[[], bool] = lambda: False) -> None:
        """Call `write` once there is space, and again after each time the disk was full; never for longer than `wait`,
        nor once `stop` returns True. Raises what the last attempt raised."""
        end = time.monotonic() + self.wait
        while self.is_short() and time.monotonic() < end and not stop():
            time.sleep(POLL_SECONDS)
        while True:
            try:
                write()
                return
            except Exception as error:
                if not is_full(error) or time.monotonic() >= end or stop():
                    raise
            time.sleep(POLL_SECONDS)


class DiskGuard(Callback):
    """The driver's: during a pause no result is taken and nothing is started, so that trials wait after the evaluation
    that they are at.

    notify: takes a line for the person at the screen. `failure` is the error that a pause without success ended in.
    """

    def __init__(self, space: FreeSpace, notify: Callable[[str], None]) -> None:
        self.failure: OSError | None = None
        self._space, self._notify = space, notify
        self._looked = 0.0
        self._waited = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if self._space.is_short() and not self.pause() and not signals.requested():
            message = f"less than {self._space.floor >> 20} MiB are free"
            self.failure = OSError(errno.ENOSPC, message, str(self._space.folder))
            raise self.failure

    def on_end(self) -> None:
        """Before the last tables are written."""
        if self._space.is_short():
            self.pause()

    def pause(self) -> bool:
        """Wait for space, at least a moment: True where there is some, False where the sweep is to end."""
        space, begin = self._space, time.monotonic()
        self._notify(
            f"paused: {space.free() / 2**20:.0f} MiB are free below {space.folder}, the sweep needs "
            f"{space.floor / 2**20:.0f}; it goes on when there is room, and ends in {space.wait - self._waited:.0f} s"
        )
        while True:
            time.sleep(POLL_SECONDS)
            gone = time.monotonic() - begin
            if not space.is_short():
                # Where the pause was short, the disk may report free space and be full: such pauses are added up.
                self._waited += gone if gone < 2 * POLL_SECONDS else 0.0
                self._notify(f"there is room again after {gone:.0f} s: going on")
                return self._waited < max(space.wait, 1.0)
            if gone > space.wait or signals.requested():
                return False


_OF_TORCH = ("No space left on device", "PytorchStreamWriter failed", "enforce fail at inline_container")
"""In what torch.save raises where a write fails at its first bytes or later: a RuntimeError without an errno."""


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, comes of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        text = str(error)
        if any(words in text for words in _OF_TORCH):
            return True
        error = error.__cause__
    return False
