"""Ray for a sweep: a private local one by default, an existing cluster by address; how many trials fit at once."""

from __future__ import annotations

import logging
import os
import socket
import sys
from typing import Any

from platform.core.errors import Problem, UserError
from platform.training.environment import ROOT, python_path, worker_environment
from platform.training.slots import Slots, share

_PREPARED = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard files of Tune: ours are in results/NAME
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # Tune's record of all trials, which grows with them: ours is the ledger
    "TUNE_MAX_PENDING_TRIALS_PG": "auto",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # guards/signals.py has one
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
}


class RayLost(BaseException):
    """A process of the private Ray is gone. No Exception: Tune would wait for its actors before passing it on."""


def prepare() -> None:
    """Set what Ray reads when it is imported. Call before its first import."""
    for name, value in _PREPARED.items():
        os.environ.setdefault(name, value)


def check(address: str | None) -> str | None:
    """The address to connect to (also $RAY_ADDRESS, as in a Ray job); None = a private Ray on this machine.

    Raises UserError where nothing answers there: Ray itself would wait long for a head that is not up.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdigit():
            raise _no_cluster(address, "an address is HOST:PORT, ray://HOST:PORT or auto")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            raise _no_cluster(address, str(error)) from error
    return address


def start(address: str | None, resources: Any) -> None:
    """Connect to a cluster by its (checked) address, or start a private Ray on this machine."""
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    environment = worker_environment(threads=max(1, int(resources.cpu)))
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if not address:
        # The raylet and the workers it starts ahead inherit this process's environment: no worker starts twice.
        os.environ.update(environment, PYTHONPATH=python_path())
        ray.init(address="local", include_dashboard=False, object_store_memory=256 * 2**20, **quiet)
        return
    in_job = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ  # a submitted job has its working directory already
    runtime: dict[str, Any] = {"env_vars": environment | ({"PYTHONPATH": python_path()} if in_job else {})}
    if not in_job:
        runtime["working_dir"] = str(ROOT)  # .rayignore keeps data, results and environments out of the upload
    try:
        ray.init(address=address, runtime_env=runtime, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, str(error)) from error


def stop() -> None:
    """End the private Ray, or leave the cluster; nothing where neither was begun."""
    if "ray" in sys.modules:
        import ray

        if ray.is_initialized():
            ray.shutdown()


def slots(resources: Any, rows_to_run: int) -> Slots:
    """What fits at once. `gpu: auto` is one GPU per trial where the cluster has any."""
    import ray

    return share(resources, ray.cluster_resources(), rows_to_run)


def _no_cluster(address: str, reason: str) -> UserError:
    return UserError(
        Problem(
            f"no Ray cluster answers at {address}: {reason.splitlines()[0] if reason else ''}",
            key="--address",
            hint=f"is it up?        ray status --address {address}\nwithout --address the sweep runs on this machine",
        )
    )
