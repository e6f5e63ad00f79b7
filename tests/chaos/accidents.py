"""Accidents that a sweep is to survive: to its processes while it runs, to its files between two runs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.faults.scene import Scene

RAY = ("raylet", "gcs_server")


def worker_killed(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    scene.kill("Trainable", driver)


def driver_killed(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    scene.kill("driver", driver)


def raylet_killed(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    scene.kill("raylet", driver)


def gcs_killed(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    scene.kill("gcs_server", driver)


def node_killed(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    """All of the private Ray at once, as when a machine of a cluster dies."""
    for process in reversed(driver.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            process.kill()
            scene.kills += 1


def worker_paused(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    with contextlib.suppress(psutil.Error):
        _paused(scene.find("Trainable", driver), generator)


def driver_paused(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    with contextlib.suppress(psutil.Error):
        _paused(driver, generator)


def group_terminated(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    """SIGTERM to the driver's process group, as systemd, Slurm and `timeout` send it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(driver.pid, signal.SIGTERM)
        scene.kills += 1
    scene.wait(60)


def disk_filled(scene: Scene, driver: psutil.Process, generator: random.Random) -> None:
    """Nothing is free below the results for some seconds. The results lie on a small disk of their own."""
    filler = scene.results.parent / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(512))
    time.sleep(generator.uniform(1, 3))
    filler.unlink()


def _paused(process: psutil.Process, generator: random.Random) -> None:
    process.suspend()
    time.sleep(generator.uniform(0.5, 3))
    process.resume()


WHILE_IT_RUNS: dict[str, Callable[[Scene, psutil.Process, random.Random], None]] = {
    "worker killed": worker_killed,
    "driver killed": driver_killed,
    "raylet killed": raylet_killed,
    "GCS killed": gcs_killed,
    "node killed": node_killed,
    "worker stopped and continued": worker_paused,
    "driver stopped and continued": driver_paused,
    "SIGTERM to the group": group_terminated,
    "disk filled": disk_filled,
}
ENDS_THE_RUN = ("driver killed", "SIGTERM to the group")


def flip_bit(path: Path, generator: random.Random, first: int = 0) -> None:
    """Flip one bit of a file, at a random byte from `first` on."""
    content = bytearray(path.read_bytes())
    content[generator.randrange(first, len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(bytes(content))


@contextlib.contextmanager
def changed(path: Path, change: Callable[[bytes], bytes | None]) -> Iterator[None]:
    """A file with other content (None = it is gone) inside the block."""
    before = path.read_bytes()
    after = change(before)
    path.unlink() if after is None else path.write_bytes(after)
    try:
        yield
    finally:
        path.write_bytes(before)
