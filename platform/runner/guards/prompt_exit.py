"""The first signal ends what comes before the trials within seconds, also where the main thread cannot handle it.

Python calls a signal's handler between two instructions of the main thread: not while a read waits for a disk that does
not answer, or a library computes. Nothing is started yet, so the process can simply end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import psutil

from platform.runner.guards import signals

SECONDS = 2.0


@contextlib.contextmanager
def in_seconds(seconds: float = SECONDS) -> Iterator[None]:
    """End the process `seconds` after the first signal, unless the block was left by then. Main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    left = threading.Event()
    threading.Thread(target=_watch, args=(reader, left, seconds), daemon=True, name="prompt exit").start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        left.set()
        os.close(writer)


def _watch(reader: int, left: threading.Event, seconds: float) -> None:
    """Python writes a signal's number into the pipe as it comes; the pipe's end means that the block was left."""
    try:
        while number := os.read(reader, 1):
            if number[0] in signals.SIGNALS and not left.wait(seconds):
                _end(number[0])
    finally:
        os.close(reader)


def _end(number: int) -> None:
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), b"\nended by a signal; nothing was started\n")
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()
    os._exit(128 + number)
