"""Ctrl-C and SIGTERM: the first ends a sweep in good order, the second at once. What was recorded is kept either way.

Before and after the trials run, the first one ends the process as an exception would (`Interrupted`); while they run,
trials are asked to save where they are (shutdown.py), and what is missing is run by the same command later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import psutil

__all__ = [
    "Interrupted",
    "around_ray",
    "exit_code",
    "listen",
    "notice",
    "requested",
    "waited",
    "when_killed",
    "while_running",
]

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SAME_SECONDS = 0.2
"""`timeout` sends its signal to the command and to the command's group: what comes twice within this time is one."""


class Interrupted(BaseException):
    """The first signal, where no trial runs. No Exception: nobody is to take it for a failure and go on."""


class _State:
    signal: int = 0
    at: float = 0.0  # monotonic
    running: bool = False
    last: list[Callable[[], None]]

    def __init__(self) -> None:
        self.last = []


_state = _State()


def requested() -> bool:
    """Whether the sweep is to end."""
    return bool(_state.signal)


def waited() -> float:
    """Seconds since it was asked to end."""
    return time.monotonic() - _state.at


def exit_code() -> int:
    """130 for Ctrl-C, 143 for SIGTERM, as shells have it."""
    return 128 + (_state.signal or signal.SIGINT)


@contextlib.contextmanager
def listen() -> Iterator[None]:
    """Handle both signals inside the block. Outside the main thread Python allows none: then nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _state.signal, _state.running = 0, False
    _install()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def around_ray() -> Iterator[None]:
    """Around ray.init, which sets a handler of its own for SIGTERM: it raises SystemExit, and would stay."""
    try:
        yield
    except SystemExit as error:
        if error.code != signal.SIGTERM:
            raise
        _state.signal, _state.at = signal.SIGTERM, time.monotonic()
        raise Interrupted from error
    finally:
        _install()


def _install() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _handle)


@contextlib.contextmanager
def while_running() -> Iterator[None]:
    """Inside the block the first signal is only noted: whoever runs the trials asks `requested`."""
    _state.running = True
    try:
        yield
    finally:
        _state.running = False


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.signal:
        if number == _state.signal and waited() < SAME_SECONDS:
            return
        _kill(number)
    _state.signal, _state.at = number, time.monotonic()
    if not _state.running:
        raise Interrupted


@contextlib.contextmanager
def when_killed(last: Callable[[], None]) -> Iterator[None]:
    """Inside the block `last` is called before a second signal ends the process; it may take no lock."""
    _state.last.append(last)
    try:
        yield
    finally:
        _state.last.remove(last)


def _kill(number: int) -> None:
    """End this process and everything below it, now. The ledger is whole after every event: nothing is to be closed."""
    for last in _state.last:
        last()
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), b"\nkilled; what was recorded is kept, the same command goes on from there\n")
    with contextlib.suppress(psutil.Error, OSError):
        for process in psutil.Process().children(recursive=True):  # parents first: they start no others then
            with contextlib.suppress(psutil.Error, OSError):
                process.kill()
    os._exit(128 + number)


def notice() -> str:
    """The line for the screen when trials are asked to stop."""
    name = "Ctrl-C" if _state.signal == signal.SIGINT else "SIGTERM"
    return f"{name}: trials save where they are, then the sweep ends; once more ends it at once"
