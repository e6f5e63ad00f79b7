"""Ray nodes of a test's own on this machine: own ports, own folder, own token, ended by their process groups.

Never `ray stop`: it ends every Ray process of the machine, other people's included.
"""

from __future__ import annotations

import contextlib
import json
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
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
HEAD_TYPE, HEAD_ID = "ray.head.default", "f" * 51 + "00000"  # the fake provider's names


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

    def start_growing_head(self, workers: dict[str, dict[str, float]], at_most: int, idle_seconds: float) -> None:
        """A head without a CPU, whose autoscaler starts workers (resources by name of their type) on this machine.

        Ray's own `AutoscalingCluster` ends every Ray of the machine before it starts.
        """
        types = {name: {"resources": resources, "max_workers": at_most} for name, resources in workers.items()}
        types[HEAD_TYPE] = {"resources": {"CPU": 0}, "max_workers": 0}
        config = {
            "cluster_name": "growing",
            "max_workers": at_most,
            "idle_timeout_minutes": idle_seconds / 60,
            "upscaling_speed": at_most,
            "provider": {"type": "external", "module": PROVIDER, "launch_multiple": True, "head_node_id": HEAD_ID}
            | {"gcs_address": self.address},
            "head_node_type": HEAD_TYPE,
            "available_node_types": {name: {**found, "node_config": {}} for name, found in types.items()},
            **dict.fromkeys(("auth", "docker", "file_mounts"), {}),
            **dict.fromkeys(("setup_commands", "head_setup_commands", "worker_setup_commands"), []),
            **dict.fromkeys(("head_start_ray_commands", "worker_start_ray_commands", "initialization_commands"), []),
            **dict.fromkeys(("cluster_synced_files", "rsync_exclude", "rsync_filter"), []),
        }
        path = self.folder / "growing.json"
        path.write_text(json.dumps(config))
        self._start(
            *("--head", f"--port={self.port}", f"--temp-dir={self.folder}", "--include-dashboard=false"),
            *(f"--ray-client-server-port={free_port()}", "--num-cpus=0", f"--autoscaling-config={path}"),
            environment={
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
                "RAY_FAKE_CLUSTER": "1",
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the workers' address is 127.0.0.1, too
                "KURABE_GPU_DEVICE": "cpu",  # what the GPUs are that the workers declare
            },
        )
        self.wait_for(f"port {self.port}", lambda: accepts(self.port))

    def start_worker(self, cpus: int) -> None:
        self._start(f"--address={self.address}", f"--num-cpus={cpus}")

    def _start(self, *options: str, environment: dict[str, str] | None = None) -> None:
        agent_ports = ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port")
        ports = [f"--{name}={free_port()}" for name in (*agent_ports, "metrics-export-port")]
        shared = ["--node-ip-address=127.0.0.1", "--num-gpus=0", "--object-store-memory=100000000", "--block"]
        # Jobs run `python`: the one of this environment, as if it had been activated.
        path = {"PATH": f"{Path(RAY).parent}{os.pathsep}{os.environ['PATH']}"}
        with open(self.folder / f"node-{len(self.nodes)}.log", "wb") as log:
            command = [RAY, "start", *options, *ports, *shared, "--min-worker-port=0", "--max-worker-port=0"]
            self.nodes.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **path, **(environment or {})},
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
