"""The fan-out: one Tuner over all studies, rows from the driver, events to the listeners."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.stopper import CombinedStopper

from platform.core.row import Row
from platform.runner.cluster import RayLost
from platform.runner.driver import Driver
from platform.runner.guards import signals
from platform.runner.guards.disk_guard import DiskGuard, Room
from platform.runner.guards.ray_processes import Lifeline, lost_processes
from platform.runner.guards.shutdown import Stopping
from platform.runner.guards.watchdog import Watchdog
from platform.runner.tune import schedulers
from platform.runner.tune.branch_states import BranchStates
from platform.runner.tune.callbacks import EventCallback, RowSearcher, SpendingStopper, payload
from platform.runner.tune.checkpoint_store import Store
from platform.runner.tune.trainable import TrialTrainable
from platform.training.slots import Slots


class _Keeper:
    """Keeps the state of each study's winner and of interrupted trials; of the others nothing more is asked."""

    def __init__(self, driver: Driver, folder: Path) -> None:
        self._driver, self._folder = driver, folder
        self._kept = {study.id: driver.best(study.id) for study in driver.sweep.studies()}

    def ended(self, row: Row) -> None:
        best = self._driver.best(row.study)
        loser = self._kept[row.study] if best is row else row
        self._kept[row.study] = best
        if loser is not None and loser.outcome != "preempted":
            (self._folder / f"{loser.key}.pt").unlink(missing_ok=True)


def run(driver: Driver, folder: Path, slots: Slots) -> list[Row]:
    """Run every missing row; all rows in the end. Asked to end (signals.py), trials save where they are."""
    checkpoints = (folder / "checkpoints").resolve()
    checkpoints.mkdir(exist_ok=True)
    token = secrets.token_hex(8)
    (checkpoints / "TOKEN").write_text(token)
    store_name = f"kurabe-checkpoints-{token}"
    store: Any = ray.remote(num_cpus=0)(Store).options(name=store_name).remote(str(checkpoints))
    limits = (driver.sweep.watch.disk_floor << 20, driver.sweep.watch.disk_wait)
    common = {
        "folder": str(checkpoints),
        "cwd": os.getcwd(),
        "token": token,
        "store": store_name,
        "select": driver.rule.name,
        "threads": slots.cpu,
        "device": slots.device,
        "room": limits,
    }
    files = [entry for entry in driver.sweep.methods if entry.plugin_source]
    plugins = {entry.name: {"source": entry.plugin_source, "path": str(entry.plugin_path)} for entry in files}

    def make_payload(row: Row) -> dict[str, Any]:
        mine = {"key": row.key, "study": row.study, "repeat": row.repeat, "spec": row.spec.model_dump(mode="json")}
        mine |= {"accumulate": row.accumulate, "split": driver.sweep.retry.out_of_memory == "accumulate"}
        return common | mine | {"plugin": plugins.get(row.method)}

    scratch = tempfile.mkdtemp(prefix="kurabe-tune-")  # Tune's own bookkeeping: ours is the ledger
    states = BranchStates(checkpoints)
    stopping, watchdog = Stopping(driver, checkpoints), Watchdog(driver, folder / "errors")
    teller = EventCallback(driver, _Keeper(driver, checkpoints).ended, watchdog.cause)
    guard = DiskGuard(Room(folder, *limits), driver)
    driver.ledger.wait_for_room = guard.hold
    followers = [Lifeline(), stopping, guard, watchdog, teller]
    try:
        _tuner(driver, slots, RowSearcher(driver, make_payload), followers, states, scratch).fit()
    except RayLost:
        if not signals.requested():  # a SIGTERM to all processes of a job ends Ray's, too
            raise
    except Exception as error:
        if driver.failure is None and (lost := lost_processes()):
            raise RayLost(", ".join(lost)) from error
        raise driver.failure or error from error
    finally:
        if not lost_processes():
            ray.kill(store)
        shutil.rmtree(scratch, ignore_errors=True)
    guard.on_end()
    rows = driver.close()
    if not any(row.outcome == "preempted" for row in rows):
        states.clear()
    return rows


def _tuner(
    driver: Driver, slots: Slots, searcher: RowSearcher, followers: list[Callback], states: BranchStates, scratch: str
) -> tune.Tuner:
    """One Tuner over all studies: actors are reused, a trial whose worker dies is started again."""
    sweep = driver.sweep
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots.count)
    bundle: dict[str, float] = {"CPU": slots.cpu} | ({"GPU": slots.gpu} if slots.gpu else {})
    return tune.Tuner(
        tune.with_resources(TrialTrainable, PlacementGroupFactory([bundle])),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=searcher,
            scheduler=schedulers.make(driver, states),
            max_concurrent_trials=slots.count,
            reuse_actors=True,
            trial_name_creator=lambda trial: payload(trial)["key"],
            trial_dirname_creator=lambda trial: payload(trial)["key"],
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            verbose=0,
            stop=CombinedStopper(SpendingStopper(driver), *(f for f in followers if isinstance(f, Stopping))),
            callbacks=followers,
            failure_config=tune.FailureConfig(max_failures=sweep.retry.lost),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
