"""Ray for a sweep: a private local one by default, an existing cluster by address; how many trials fit at once."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from platform.core.errors import Problem, UserError
from platform.runner import cluster_growth, private_ray
from platform.runner.cluster_address import check_address, no_cluster
from platform.runner.cluster_growth import FIXED, Growth
from platform.training.environment import ROOT, python_path, worker_environment
from platform.training.slots import Slots, demand, fits, gpu_share, here, supply

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


QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}

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


def start(address: str | None, resources: Any, scratch: Path) -> Growth:
    """Connect to a cluster by its (checked) address, or start a private Ray on this machine, with its files in scratch.

    Returns how the cluster may grow. Raises UserError where no cluster answers, or it can never have what a trial asks
    for.
    """
    import ray

    environment = worker_environment(threads=max(1, int(resources.cpu)))
    if not address:
        # The raylet and the workers it starts ahead inherit this process's environment: no worker starts twice.
        os.environ.update(environment, PYTHONPATH=python_path())
        logging.getLogger("ray").setLevel(logging.ERROR)
        more: dict[str, Any] = {"include_dashboard": False, "object_store_memory": 256 * 2**20}
        # Workers import from the driver's current folder first: there a user's methods.py would be taken for ours.
        with private_ray.processes_apart(), contextlib.chdir(ROOT):
            ray.init(address="local", **QUIET, **more, _temp_dir=str(scratch))
        private_ray.kill_at_once()
        _refuse(resources, have := _machines(), f"this machine has, by Ray's count, {_supplies(have)}")
        return FIXED
    connect(address, threads=max(1, int(resources.cpu)))
    return _growth(resources)


def connect(address: str, threads: int) -> None:
    """Connect to a cluster by its (checked) address, and bring the code there. threads: of a worker.

    Raises UserError where no cluster answers.
    """
    runtime: dict[str, Any] = {"env_vars": worker_environment(threads)}
    if _in_job():
        runtime["env_vars"] |= {"PYTHONPATH": python_path()}
    else:
        runtime["working_dir"] = str(ROOT)  # .rayignore keeps data, results and environments out of the upload
    _init(address, runtime)


def _init(address: str, runtime: dict[str, Any]) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        ray.init(address=address, runtime_env=runtime, **QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise no_cluster(address, str(error)) from error


def _growth(resources: Any) -> Growth:
    growth = cluster_growth.growth()
    _wait_for_room(resources, growth)
    return growth


def preview(address: str, resources: Any, rows: int) -> str:
    """What trials a sweep of so many rows would run at once on the cluster at a (checked) address. Starts none.

    Raises UserError where no cluster answers, or it can never have what a trial asks for.
    """
    _init(address, {})
    try:
        growth = _growth(resources)
        return describe(slots(resources, rows, growth), growth)
    finally:
        stop()


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


MOST_UNASKED = 100
"""Trials at once where it is not known how far a cluster grows, and resources.concurrent does not say."""


def slots(resources: Any, rows_to_run: int, growth: Growth) -> Slots:
    """The trials that may run at once: all that fit on the machines there are, or on those that may come.

    `gpu: auto` is one GPU per trial where a machine of the cluster has one, or may come that has one.
    """
    machines = _machines()
    gpu = gpu_share(resources, [*machines, *(each.resources for each in growth.types)])
    if not gpu and resources.gpu == "auto" and not growth.known:
        gpu = float(cluster_growth.can_ever_have({"CPU": resources.cpu, "GPU": 1}) or 0)
    one = Slots(1, resources.cpu, gpu)
    if resources.concurrent != "auto":
        fit = resources.concurrent
    else:
        here_now = [one.room(machine) for machine in machines]
        head = sum(one.room(machine) for machine in machines if "node:__internal_head__" in machine)
        fit = max(sum(here_now), head + growth.room(one), 0 if growth.known else MOST_UNASKED)
    return Slots(max(1, min(fit, rows_to_run)), resources.cpu, gpu)


def room_now(one: Slots) -> list[int]:
    """How many of these trials each machine of the cluster has room for; machines without room are left out."""
    return [count for machine in _machines() if (count := one.room(machine))]


def describe(slots: Slots, growth: Growth) -> str:
    """What trials a sweep would run at once on the cluster, and on what, in a sentence or two."""
    at_once = f"up to {slots.count} trials" if slots.count > 1 else "1 trial"
    text = f"{at_once} at once on the cluster, each with {demand(slots)}; there is {supply_of_cluster()}"
    if growth.grows and not growth.known:
        return f"{text}; its autoscaler can start more"
    return f"{text}; its autoscaler can start {growth}" if growth.grows else text


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
    _refuse(resources, [here()], f"this machine has {supply(here())}", "; a cluster has more: --address HOST:PORT")


def _wait_for_room(resources: Any, growth: Growth) -> None:
    """Raises UserError where no machine has room for a trial, none joins in JOIN_SECONDS, and none can be started."""
    until = time.monotonic() + JOIN_SECONDS
    said = False
    while not any(fits(resources, machine) for machine in _machines()):
        if growth.grows:
            return _check_growth(resources, growth)
        if time.monotonic() > until:
            break
        if not said:
            there = supply_of_cluster()
            print(f"waiting for a machine to join that has {demand(resources)}; there is {there}", flush=True)
            said = True
        time.sleep(0.5)
    _refuse(resources, have := _machines(), f"no machine of this cluster has that: there is {_supplies(have)}")


def _check_growth(resources: Any, growth: Growth) -> None:
    """Raises UserError where the autoscaler can start no machine on which a trial fits."""
    there = f"no machine of this cluster has that: there is {supply_of_cluster()}, and its autoscaler can start"
    if growth.known:
        _refuse(resources, [dict(each.resources) for each in growth.types], f"{there} {growth}")
    elif cluster_growth.can_ever_have(Slots(1, resources.cpu, gpu_share(resources, [])).bundle) is False:
        _refuse(resources, [], f"{there} none that does")


def _refuse(resources: Any, machines: list[dict[str, float]], there: str, hint: str = "") -> None:
    """Raises UserError where a trial fits on none of the machines. there: what there is, as a sentence."""
    if any(fits(resources, machine) for machine in machines):
        return
    hint = f"ask for less: resources.cpu=1 resources.gpu=auto{hint}"
    raise UserError(Problem(f"a trial asks for {demand(resources)}; {there}", key="resources", hint=hint))
