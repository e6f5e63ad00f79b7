"""The Python stacks of a process, asked for from outside, also where it does not let any Python run."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from pathlib import Path

import psutil

__all__ = ["ask", "register"]

_descriptor: int | None = None  # stays open: the signal handler writes to it


def register() -> str:
    """Have SIGUSR1 make this process write its stacks into memory of its own; returns a path to read it by.

    The handler is C: it answers a loop inside an extension that never gives the interpreter back, too. No file: one
    would be left behind by a process that is killed.
    """
    global _descriptor
    if _descriptor is None:
        _descriptor = os.memfd_create("kurabe-stack")
        faulthandler.register(signal.SIGUSR1, file=_descriptor, all_threads=True, chain=False)
    return f"/proc/{os.getpid()}/fd/{_descriptor}"


def ask(pid: int, path: str, seconds: float = 3.0) -> str:
    """The stacks of a process on this machine that called `register`; a sentence where it does not answer."""
    file = Path(path)
    try:
        if not _is_worker(pid):
            return f"process {pid} is another one now"
        before = file.stat().st_size
        os.kill(pid, signal.SIGUSR1)
    except (OSError, psutil.Error) as error:
        return f"process {pid} cannot be asked for its stack: {error}"
    end, size = time.monotonic() + seconds, before
    while time.monotonic() < end:
        time.sleep(0.1)
        now = file.stat().st_size
        if now > before and now == size:
            break
        size = now
    stacks = file.read_text()[before:]
    return stacks or f"process {pid} did not answer within {seconds:g} s: it is stopped, or waits inside the kernel"


def _is_worker(pid: int) -> bool:
    """Whether the process is one of Ray's. For a moment the kernel may have no command line of a living process."""
    for _ in range(20):
        if words := psutil.Process(pid).cmdline():
            return "ray::" in " ".join(words)
        time.sleep(0.05)
    return False
