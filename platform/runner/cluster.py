"""Ray for a sweep: a private local one by default, an existing cluster by address; how many trials fit at once."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platform.core.errors import Problem, UserError
from platform.runner import private_ray
from platform.runner.cluster_address import check_address, no_cluster
from platform.training.environment import ROOT, python_path, worker_environment
from platform.training.slots import Slots, demand, fits, here, share, supply

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


JOIN_SECONDS = 30.0
"""How long machines that were started together with the head may take to join it."""


class RayLost(BaseException):
    """A process of the private Ray is gone. No Exception: Tune would wait for its actors before passing it on."""


def prepare(private: bool) -> None:
    """Set what Ray reads when it is imported. Call before its first import. private: no address is given."""
    for name, value in (_PREPARED | (private_ray.LOOPBACK if private else {})).items():
        os.environ.setdefault(name, value)


def check(address: str | None) -> str | None:
    """The address to connect to (also $RAY_ADDRESS, as in a Ray job); None = a private Ray on this machine.

    Raises UserError where Ray does not answer there within seconds or refuses the token, and where there is no checkout
    whose code could be sent there.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is not None:
        if not _in_job() and not (ROOT / "pyproject.toml").is_file():
            hint = "for a cluster: pip install --editable /path/to/a/checkout, whose code is sent there"
            raise UserError(Problem(f"kurabe is installed without its sources, in {ROOT}", "--address", hint=hint))
        prepare(private=False)
        check_address(address)
    return address


def start(address: str | None, resources: Any, scratch: Path) -> None:
    """Connect to a cluster by its (checked) address, or start a private Ray on this machine, with its files in scratch.

    Raises UserError where no cluster answers, or it can never have what a trial asks for.
    """
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    environment = worker_environment(threads=max(1, int(resources.cpu)))
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if not address:
        # The raylet and the workers it starts ahead inherit this process's environment: no worker starts twice.
        os.environ.update(environment, PYTHONPATH=python_path())
        quiet |= {"include_dashboard": False, "object_store_memory": 256 * 2**20, "_temp_dir": str(scratch)}
        # Workers import from the driver's current folder first: there a user's methods.py would be taken for ours.
        with private_ray.processes_apart(), contextlib.chdir(ROOT):
            ray.init(address="local", **quiet)
        private_ray.kill_at_once()
        _refuse(resources, _machines(), "this machine has, by Ray's count,")
        return
    runtime: dict[str, Any] = {"env_vars": environment | ({"PYTHONPATH": python_path()} if _in_job() else {})}
    if not _in_job():
        runtime["working_dir"] = str(ROOT)  # .rayignore keeps data, results and environments out of the upload
    try:
        ray.init(address=address, runtime_env=runtime, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise no_cluster(address, str(error)) from error
    _wait_for_room(resources)


def _in_job() -> bool:
    """Whether this is a submitted job, which has its working directory already."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def stop() -> None:
    """End the private Ray, also where it was only half started, or leave the cluster; else nothing."""
    if "ray" in sys.modules:
        import ray

        below = private_ray.running()
        if ray.is_initialized():
            ray.shutdown()
        private_ray.end(below)


# -- resources ---------------------------------------------------------------------------------------------------------


def slots(resources: Any, rows_to_run: int) -> Slots:
    """The trials that fit at once. `gpu: auto` is one GPU per trial where the cluster has any."""
    import ray

    return share(resources, ray.cluster_resources(), rows_to_run)


def supply_of_cluster() -> str:
    """The resources of each machine of the cluster, as text, every kind once."""
    return _supplies(_machines())


def _machines() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _supplies(machines: list[dict[str, float]]) -> str:
    return "; ".join(sorted({supply(machine) for machine in machines})) or "no machine"


def check_machine(resources: Any) -> None:
    """Raises UserError where no trial fits on this machine."""
    _refuse(resources, [here()], "this machine has", "; a cluster has more: --address HOST:PORT")


def _wait_for_room(resources: Any) -> None:
    """Raises UserError where a trial fits on no machine of a cluster that stays as it is, also after JOIN_SECONDS."""
    until = time.monotonic() + JOIN_SECONDS
    said = False
    while not any(fits(resources, machine) for machine in _machines()):
        report = _scaler_report()
        if report is not None and may_grow(report):  # once trials wait
            return
        if time.monotonic() > until:
            break
        if not said:
            there = supply_of_cluster()
            print(f"waiting for a machine to join that has {demand(resources)}; there is {there}", flush=True)
            said = True
        time.sleep(0.5)
    if not may_grow(_scaler_report()):
        _refuse(resources, _machines(), "no machine of this cluster has that: there is")


def _refuse(resources: Any, have: list[dict[str, float]], what: str, hint: str = "") -> None:
    if any(fits(resources, machine) for machine in have):
        return
    hint = f"ask for less: resources.cpu=1 resources.gpu=auto{hint}"
    message = f"a trial asks for {demand(resources)}; {what} {_supplies(have)}"
    raise UserError(Problem(message, key="resources", hint=hint))


def may_grow(report: bytes | None) -> bool:
    """Whether a cluster may get further machines. report: the status that its autoscaler left, if it has one.

    Where no autoscaler was configured, Ray's own reports each node as a type of its own, node_ID. True where unknown.
    """
    try:
        nodes: Mapping[str, Any] = json.loads(report or b"{}")["autoscaler_report"]["active_nodes"]
    except (ValueError, KeyError, TypeError):
        return True
    return not nodes or any(not name.startswith("node_") for name in nodes)


def _scaler_report() -> bytes | None:
    from ray.experimental.internal_kv import _internal_kv_get

    return _internal_kv_get("__autoscaling_status")
