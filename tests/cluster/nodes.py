"""Ray nodes of a test's own on this machine: own ports, own folder, own token, ended by their process groups.

Never `ray stop`: it ends every Ray process of the machine, other people's included.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

RAY = str(Path(sys.executable).with_name("ray"))
START_SECONDS = 90


@dataclass
class LocalCluster:
    """A head and its workers, each a `ray start --block` in a session of its own. `address` is for `--address`."""

    folder: Path
    port: int
    dashboard: int
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def jobs(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    def start_head(self, cpus: int) -> None:
        self._start(
            *("--head", f"--port={self.port}", f"--temp-dir={self.folder}"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}", "--include-dashboard=true"),
            *(f"--ray-client-server-port={free_port()}", f"--num-cpus={cpus}"),
        )
        self.wait_for(f"port {self.dashboard}", lambda: accepts(self.dashboard))

    def start_worker(self, cpus: int) -> None:
        self._start(f"--address={self.address}", f"--num-cpus={cpus}")

    def _start(self, *options: str) -> None:
        agent_ports = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port")
        ports = [f"--{name}={free_port()}" for name in (*agent_ports, "metrics-export-port")]
        shared = ["--node-ip-address=127.0.0.1", "--num-gpus=0", "--object-store-memory=100000000", "--block"]
        # Jobs run `python`: the one of this environment, as if it had been activated.
        environment = {**os.environ, "PATH": f"{Path(RAY).parent}{os.pathsep}{os.environ['PATH']}"}
        with open(self.folder / f"node-{len(self.nodes)}.log", "wb") as log:
            command = [RAY, "start", *options, *ports, *shared, "--min-worker-port=0", "--max-worker-port=0"]
            self.nodes.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def wait_for(self, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            ended = [node for node in self.nodes if node.poll() is not None]
            if ended or time.monotonic() > deadline:
                logs = "\n".join(f.read_text(errors="replace") for f in sorted(self.folder.glob("node-*.log")))
                raise RuntimeError(f"no {what} after {START_SECONDS} s or a node ended:\n{logs}")
            time.sleep(0.2)

    def end(self) -> None:
        """End the nodes' sessions, workers first, and whatever of this cluster is still there."""
        for node in reversed(self.nodes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)  # a polite end takes Ray ten seconds, and nothing is to be kept
            node.wait()
        for pid in processes_in(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        deadline = time.monotonic() + 10
        while left := list(processes_in(self.folder)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes of {self.folder} still run: {left}")
            time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def processes_in(folder: Path) -> Iterator[int]:
    """Processes whose command line names the folder: Ray gives each of its own the session's path."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if os.fsencode(folder) in (entry / "cmdline").read_bytes():
                    yield int(entry.name)
