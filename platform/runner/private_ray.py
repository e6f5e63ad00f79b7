"""A private Ray on this machine: listens on loopback only, outlives signals to the driver's group, ends with it."""

from __future__ import annotations

import contextlib
import functools
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import psutil

__all__ = ["LOOPBACK", "end", "kill_at_once", "processes_apart", "running"]

_started: list[psutil.Process] = []

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Environment in which Ray takes 127.0.0.1 for the node's address, and with it for every port that it opens. It is read
when Ray is imported; `_node_ip_address="127.0.0.1"` would be replaced by the machine's address."""


@contextlib.contextmanager
def processes_apart() -> Iterator[None]:
    """Ray's servers that are started inside the block hear neither SIGTERM nor SIGINT, and have process groups.

    systemd, Slurm and `timeout` send a signal to every process of a job. Its trials are to save then, for which Ray is
    needed: the driver ends it (`end`), and where the driver is killed, the kernel does. Workers inherit the mask.
    """
    import ray._private.services as services

    before = services.ConsolePopen
    services.ConsolePopen = _start_apart  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        services.ConsolePopen = before


def _start_apart(*arguments: Any, preexec_fn: Callable[[], None] | None = None, **options: Any) -> Any:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        if preexec_fn is not None:
            preexec_fn()  # has the kernel kill the process when the driver dies

    process = subprocess.Popen(*arguments, preexec_fn=prepare, process_group=0, **options)
    with contextlib.suppress(psutil.Error):
        _started.append(psutil.Process(process.pid))
    return process


def kill_at_once() -> None:
    """Have ray.shutdown end Ray's servers by SIGKILL: they do not hear SIGTERM, and it would wait for each."""
    import ray._private.worker as worker

    node: Any = worker._global_node
    original = node.kill_all_processes

    @functools.wraps(original)
    def kill_all_processes(*arguments: Any, **options: Any) -> None:
        original(*arguments, **(options | {"allow_graceful": False}))

    node.kill_all_processes = kill_all_processes


def running() -> list[psutil.Process]:
    """The processes started so, and all their descendants."""
    found: list[psutil.Process] = []
    for server in _started:
        with contextlib.suppress(psutil.Error):
            found += [server, *server.children(recursive=True)]
    return found


def end(processes: list[psutil.Process]) -> None:
    """Kill those that still run: agents and idle workers notice only after a second or more that their raylet ended."""
    _started.clear()
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            process.kill()  # not where the process id has come to mean another process: psutil looks
    psutil.wait_procs(processes, timeout=2)
