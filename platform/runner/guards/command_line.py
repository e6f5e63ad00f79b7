"""A command line that holds a secret is exchanged for one that does not, and tracebacks are shown without secrets.

Every user of a machine can read the command lines of its processes, and Ray keeps that of a driver as its job's entry
point. So the process starts itself again, with the words as they were typed in a file descriptor.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from types import TracebackType

from platform.core.redaction import redact, redact_word

__all__ = ["hide_tracebacks", "take"]

_DESCRIPTOR = "KURABE_COMMAND_LINE"


def take() -> list[str]:
    """The words of the command as they were typed. Does not return where they hold a secret: `exec` follows."""
    if (descriptor := os.environ.pop(_DESCRIPTOR, None)) is not None:
        with os.fdopen(int(descriptor), encoding="utf-8") as file:
            return json.load(file)
    typed = sys.argv[1:]
    shown = [redact_word(word) for word in typed]
    if shown == typed or not sys.orig_argv[len(sys.orig_argv) - len(typed) :] == typed:
        return typed
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as file:
        file.write(json.dumps(typed))  # a pipe takes 64 KiB unread; longer words could not be typed
    os.set_inheritable(reading, True)
    interpreter = sys.orig_argv[: len(sys.orig_argv) - len(typed)]
    os.execve(sys.executable, [*interpreter, *shown], os.environ | {_DESCRIPTOR: str(reading)})


def hide_tracebacks() -> None:
    """Print exceptions that nobody catches without the secrets in their messages."""

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        lines = "".join(traceback.format_exception(kind, error, trace)).splitlines()
        print("\n".join(map(redact, lines)), file=sys.stderr, flush=True)

    sys.excepthook = show
    threading.excepthook = lambda given: show(given.exc_type, given.exc_value, given.exc_traceback)
