"""Output whose reader is gone: Ctrl-C in `platform.sweep ... | tee log` ends tee first, and trials are yet to save."""

from __future__ import annotations

import io
import os
import stat
import sys
from typing import Any

__all__ = ["outlive_readers"]


class _Tolerant(io.FileIO):
    """Takes what nobody reads any more."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Keep both outputs from raising BrokenPipeError from now on. Does nothing for what is no pipe."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):  # a test's, or closed
            continue
        if isinstance(stream, io.TextIOWrapper) and stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            stream.flush()
            buffer = io.BufferedWriter(_Tolerant(descriptor, "w", closefd=False))
            tolerant = io.TextIOWrapper(
                buffer,
                stream.encoding,
                stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, tolerant)
