"""A disk that is nearly full: the sweep holds before it writes, says so, and goes on when there is room again."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback

from platform.core.files import DISK_FULL
from platform.runner.guards import signals

if TYPE_CHECKING:
    from platform.runner.driver import Driver

__all__ = ["DiskGuard", "Room", "is_full"]

POLL_SECONDS = 1.0
LOOK_SECONDS = 1.0


class Room:
    """Free space below a folder. floor: bytes that stay free. wait: seconds that a pause may last."""

    def __init__(self, folder: Path, floor: int, wait: float) -> None:
        self.folder, self.floor, self.wait = folder, floor, wait

    def free(self) -> int:
        return shutil.disk_usage(self.folder).free

    def missing(self) -> bool:
        return self.free() < self.floor

    def write(self, write: Callable[[], Any], stop: Callable[[], bool] = lambda: False) -> None:
        """Call `write` once there is room, and again after each time the disk was full; never for longer than `wait`,
        nor once `stop` says so. Raises what the last attempt raised."""
        end = time.monotonic() + self.wait
        while self.missing() and time.monotonic() < end and not stop():
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
    """The driver's: while it holds, no result is taken and nothing is started, so that trials wait after the evaluation
    that they are at."""

    def __init__(self, room: Room, driver: Driver) -> None:
        self._room, self._driver = room, driver
        self._looked = 0.0
        self._waited = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **_: Any) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if self._room.missing() and not self.hold() and not signals.requested():
            words = f"less than {self._room.floor >> 20} MiB are free"
            self._driver.failure = OSError(errno.ENOSPC, words, str(self._room.folder))
            raise self._driver.failure

    def on_end(self) -> None:
        """Before the last tables are written."""
        if self._room.missing():
            self.hold()

    def hold(self) -> bool:
        """Wait for room, at least a moment: True where there is some, False where the sweep is to end."""
        room, begin = self._room, time.monotonic()
        self._driver.notify(
            f"paused: {room.free() / 2**20:.0f} MiB are free below {room.folder}, the sweep needs "
            f"{room.floor / 2**20:.0f}; it goes on when there is room, and ends in {room.wait - self._waited:.0f} s"
        )
        while True:
            time.sleep(POLL_SECONDS)
            gone = time.monotonic() - begin
            if not room.missing():
                self._waited += gone if gone < 2 * POLL_SECONDS else 0.0  # the disk says there is room, and is full
                self._driver.notify(f"there is room again after {gone:.0f} s: going on")
                return self._waited < max(room.wait, 1.0)
            if gone > room.wait or signals.requested():
                return False


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, comes of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        text = str(error)
        if "No space left on device" in text or "PytorchStreamWriter failed" in text:
            return True
        error = error.__cause__
    return False
