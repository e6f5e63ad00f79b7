"""Processes of a private Ray whose driver was killed: they carry the sweep's folder in their environment.

Ray's own children die with the driver (the kernel sees to it), and workers with their raylet; what was started by
neither, or while they died, is found and ended here, at the next start of the same sweep. A process is ended only
where its own environment names this folder and a driver, by process id and start time, that no longer runs. Ray's
agents write their title over their environment, as setproctitle does, unless SPT_NOENV asks for a shorter title.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MARK", "end", "marked"]

MARK = "KURABE_SWEEP"


@contextlib.contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Processes started inside the block belong to this driver's sweep in `folder`."""
    mine = {MARK: f"{folder.resolve()}|{os.getpid()}|{_started(os.getpid())}", "SPT_NOENV": "1"}
    before = {name: os.environ.get(name) for name in mine}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def end(folder: Path, seconds: float = 10.0) -> int:
    """End what an earlier driver of this sweep left behind; how many processes that were. Linux; 0 elsewhere."""
    wanted = f"{MARK}={folder.resolve()}|".encode()
    until = time.monotonic() + seconds
    ended = 0
    while found := _killed(wanted):  # again, for what one of them started while it was looked for
        ended += len(found)
        for entry in found:
            while time.monotonic() < until and _runs(entry):
                time.sleep(0.02)
        if time.monotonic() >= until:
            break
    return ended


def _killed(wanted: bytes) -> list[Path]:
    """Every process with this mark and without its driver, after SIGKILL."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and _is_left(entry, wanted):
                handle = os.pidfd_open(pid)  # from here on the number cannot come to mean another process
                if _is_left(entry, wanted):
                    found.append(entry)
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                os.close(handle)
    return found


def _is_left(entry: Path, wanted: bytes) -> bool:
    mark = next((v for v in (entry / "environ").read_bytes().split(b"\0") if v.startswith(wanted)), None)
    if mark is None:
        return False
    _, pid, started = mark.decode().rsplit("|", 2)
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """When a process began, in ticks since the machine did; nothing where there is none, or only its last remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _runs(entry: Path) -> bool:
    return bool(_started(int(entry.name)))
