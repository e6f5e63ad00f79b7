"""Ray's processes on this machine: which of the private Ray were lost, and which ones a killed driver left behind.

Ray's own children die with the driver (the kernel sees to it), and workers with their raylet. What was started by
neither, or while they died, carries the sweep's folder in its environment and is ended at the next start of the same
sweep: only where that environment names this folder and a driver, by process id and start time, that no longer runs.
Ray's agents write their title over their environment, as setproctitle does, unless SPT_NOENV asks for a shorter title.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

__all__ = [
    "SWEEP_VARIABLE",
    "die_with_parent",
    "end_orphans",
    "ignore_sigterm",
    "is_abandoned",
    "lost_processes",
    "owned_by_sweep",
    "owner_value",
    "start_time",
]

SWEEP_VARIABLE = "KURABE_SWEEP"
"""Environment variable of a sweep's processes: FOLDER|PID|START of its driver."""

WATCHED = ("raylet", "gcs_server")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def lost_processes() -> list[str]:
    """Processes of the private Ray that ended, as `raylet (process 12, killed by SIGKILL)`.

    A cluster's processes are the cluster's: only those that this driver started are looked at.
    """
    import ray._private.worker as worker

    node = worker._global_node
    dead = node.dead_processes() if node is not None else []
    return [f"{kind} (process {process.pid}, {_end(process.poll())})" for kind, process in dead if kind in WATCHED]


def _end(code: int | None) -> str:
    return f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"


def die_with_parent() -> None:
    """Have the kernel kill this worker when its raylet dies. It would go on and write over its successor's state."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died just before
        os._exit(1)


def ignore_sigterm() -> None:
    """Unblock and ignore SIGTERM in a worker of a private Ray, which starts with it blocked (private_ray.py).

    Processes that a trial starts can be ended by it then: they inherit a block, and no handler.
    """
    main = threading.current_thread() is threading.main_thread()
    if main and signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


@contextlib.contextmanager
def owned_by_sweep(folder: Path) -> Iterator[None]:
    """Processes started inside the block carry this driver and its sweep in `folder` in their environment."""
    added = {SWEEP_VARIABLE: owner_value(folder), "SPT_NOENV": "1"}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def end_orphans(folder: Path, seconds: float = 10.0) -> int:
    """End what an earlier driver of this sweep left behind; returns how many processes that were."""
    until = time.monotonic() + seconds
    ended = 0
    while killed := _kill_orphans(folder):  # again, for what one of them started meanwhile
        ended += len(killed)
        for process in killed:
            while time.monotonic() < until and _runs(process):
                time.sleep(0.02)
        if time.monotonic() >= until:
            break
    return ended


def _kill_orphans(folder: Path) -> list[psutil.Process]:
    """Every process of this sweep whose driver is gone, after SIGKILL."""
    killed = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and is_abandoned(process.environ().get(SWEEP_VARIABLE, ""), folder):
                process.kill()  # not where the process id has come to mean another process: psutil looks
                killed.append(process)
    return killed


def owner_value(folder: Path) -> str:
    """FOLDER|PID|START of this process as the driver of a sweep in `folder`."""
    return f"{folder.resolve()}|{os.getpid()}|{start_time(os.getpid())}"


def is_abandoned(owner: str, folder: Path) -> bool:
    """Whether an `owner_value` is that of a driver of this sweep that no longer runs."""
    if not owner.startswith(f"{folder.resolve()}|"):
        return False
    _, pid, started = owner.rsplit("|", 2)
    return start_time(int(pid)) != started


def start_time(pid: int) -> str:
    """Seconds from the machine's start to the process's, whatever the clock shows; empty where it does not run."""
    boot = psutil.boot_time()  # psutil adds it to the kernel's number, and with it any change of the clock
    try:
        process = psutil.Process(pid)
        return f"{process.create_time() - boot:.2f}" if _runs(process) else ""
    except psutil.Error:
        return ""


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False
