"""Ray's own processes on this machine die too: a sweep that loses them says so, starts them again and goes on.

Without this a driver whose raylet was killed waits for ever (trials pend on a node that is gone), and one whose GCS was
killed aborts after a minute. A cluster's processes are the cluster's: only those that this driver started are watched.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

from ray.tune import Callback

from platform.runner.cluster import RayLost

WATCHED = ("raylet", "gcs_server")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Lifeline(Callback):
    """Looks at every step of Tune's loop (ten a second where nothing happens) whether Ray still lives."""

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if found := lost_processes():
            raise RayLost(", ".join(found))


def lost_processes() -> list[str]:
    """Processes of the private Ray that ended, as `raylet (process 12, killed by SIGKILL)`."""
    import ray._private.worker as worker

    node = worker._global_node
    dead = node.dead_processes() if node is not None else []
    return [f"{kind} (process {process.pid}, {_end(process.poll())})" for kind, process in dead if kind in WATCHED]


def _end(code: int | None) -> str:
    return f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"


def die_with_parent() -> None:
    """For a worker: the kernel kills it when its raylet dies. It would go on and write over its successor's state."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died just before
        os._exit(1)
