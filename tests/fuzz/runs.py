"""One input through the door, as far as `--dry-run --no-calibration` goes: what came out, how long, how large."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
SECONDS = 10
PATIENCE = 60
BYTES = 2 * 2**30


@dataclass
class Result:
    """complaint: what the property does not allow; "" where it holds."""

    code: int
    seconds: float
    complaint: str
    told: str = ""


class TooSlow(BaseException):
    """Raised where the door takes longer than SECONDS. No Exception: nobody is to take it for bad input."""


def words(path: Path, results: Path) -> list[str]:
    return [str(path), "--dry-run", "--no-calibration", "--results", str(results)]


def here(path: Path, results: Path, limited: bool = True) -> Result:
    """In this process: what is imported once serves thousands."""
    from platform.sweep import main

    out, err = io.StringIO(), io.StringIO()
    start, why = time.monotonic(), ""
    code = -1
    try:
        with (
            _limits() if limited else contextlib.nullcontext(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main(words(path, results))
    except TooSlow:
        why = f"takes more than {SECONDS} seconds\n{traceback.format_exc(limit=-4)}"
    except BaseException:
        why = traceback.format_exc(limit=-8)
    return _judged(code, time.monotonic() - start, out.getvalue(), err.getvalue(), why)


def elsewhere(path: Path, results: Path) -> Result:
    """In a process of its own, as a person types it."""
    start = time.monotonic()
    command = [sys.executable, "-m", "platform.sweep", *words(path, results)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    return _judged(done.returncode, time.monotonic() - start, done.stdout, done.stderr, "")


def _judged(code: int, seconds: float, out: str, err: str, why: str) -> Result:
    if not why and code not in (0, 2):
        why = f"exit code {code}"
    if not why and ("Traceback" in out + err or "does not import" in err):
        why = "a traceback is shown"
    if not why and code == 2 and "nothing was started." not in err:
        why = "refused without words"
    for text in (out, err):
        if not why and any(c < " " and c not in "\n\r" for c in text):
            why = "prints control characters"
        try:
            text.encode()
        except UnicodeEncodeError:
            why = why or "prints what is no text"
    return Result(code, seconds, why, err)


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """SECONDS until TooSlow, and BYTES more than what this process has already.

    On a machine that is busy with other things, a second counts as far as this process had it, up to PATIENCE.
    """
    begun, worked = time.monotonic(), time.process_time()

    def late(number: int, frame: FrameType | None) -> None:
        if time.process_time() - worked >= SECONDS or time.monotonic() - begun >= PATIENCE:
            raise TooSlow
        signal.setitimer(signal.ITIMER_REAL, 1)

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before, old = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, before)
