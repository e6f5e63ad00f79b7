"""The Python stacks of a process, asked for from outside, also where it does not let any Python run."""

from __future__ import annotations

import faulthandler
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import IO

import psutil

__all__ = ["ask", "register"]

_file: IO[str] | None = None  # stays open: the signal handler writes to its descriptor


def register() -> str:
    """From now on SIGUSR1 makes this process append its stacks to a file of its own; returns the file's path.

    The handler is C: it answers a loop inside an extension that never gives the interpreter back, too.
    """
    global _file
    if _file is None:
        _file = tempfile.NamedTemporaryFile("w", prefix=f"kurabe-stack-{os.getpid()}-", suffix=".txt", delete=False)
        faulthandler.register(signal.SIGUSR1, file=_file, all_threads=True, chain=False)
    return _file.name


def ask(pid: int, path: str, seconds: float = 3.0) -> str:
    """The stacks of a process on this machine that called `register`; a sentence where it does not answer."""
    file = Path(path)
    try:
        if "ray::" not in " ".join(psutil.Process(pid).cmdline()):
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
