"""The sweep as one run of Ray Tune: rows from the driver, one Tuner over all studies, events to the listeners."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.stopper import CombinedStopper

from platform.core.row import Row
from platform.runner.cluster import RayLost, supply_of_cluster
from platform.runner.cluster_growth import FIXED, Growth
from platform.runner.driver import Driver
from platform.runner.guards import signals
from platform.runner.guards.disk_guard import DiskGuard, FreeSpace
from platform.runner.guards.ray_processes import lost_processes
from platform.runner.guards.shutdown import Shutdown
from platform.runner.guards.waiting import WaitingNotice
from platform.runner.guards.watchdog import Watchdog
from platform.runner.messages import Assignment, PlugIn, Workplace, assignment_of
from platform.runner.tune import schedulers
from platform.runner.tune.branch_states import BranchStates
from platform.runner.tune.callbacks import EventCallback, RayProcessCheck, SpendingStopper
from platform.runner.tune.checkpoint_store import CheckpointStore
from platform.runner.tune.cluster_demand import ClusterDemand
from platform.runner.tune.lost_actors import recover_before_start
from platform.runner.tune.searcher import RowSearcher
from platform.runner.tune.trainable import TrialTrainable
from platform.training.slots import Slots, demand

__all__ = ["run"]


def run(driver: Driver, folder: Path, slots: Slots, scratch: Path, growth: Growth = FIXED) -> list[Row]:
    """Run every missing row; all rows in the end. Asked to end (signals.py), trials save where they are.

    scratch: a folder for Tune's own records, which nobody reads. growth: how the cluster may grow.
    """
    checkpoints = (folder / "checkpoints").resolve()
    checkpoints.mkdir(exist_ok=True)
    workplace = _workplace(driver, checkpoints, slots)
    workplace.token_file.write_text(workplace.token)
    store: Any = ray.remote(num_cpus=0)(CheckpointStore).options(name=workplace.store).remote(str(checkpoints))
    states = BranchStates(checkpoints)
    guard = DiskGuard(FreeSpace(folder, workplace.disk_floor, workplace.disk_wait), _notify(driver))
    driver.ledger.wait_for_room = guard.pause
    callbacks = _callbacks(driver, folder, workplace, guard, slots)
    demanded = ClusterDemand(driver, slots, growth) if growth.grows else None
    if demanded:
        callbacks.append(demanded)
    tuner = _tuner(driver, slots, RowSearcher(driver, _assign(driver, workplace)), callbacks, states, str(scratch))
    try:
        with recover_before_start():
            tuner.fit()
    except RayLost:
        if not signals.requested():  # a SIGTERM to all processes of a job ends Ray's, too
            raise
    except Exception as error:
        failure = driver.failure or guard.failure
        if failure is None and (lost := lost_processes()):
            raise RayLost(", ".join(lost)) from error
        raise failure or error from error
    finally:
        if not lost_processes():
            ray.kill(store)
            if demanded:
                demanded.withdraw()
    guard.on_end()
    rows = driver.close()
    if not any(row.outcome == "preempted" for row in rows):
        states.clear()
    return rows


def _notify(driver: Driver) -> Callable[[str], None]:
    """The driver's `notify`, without the screen that it belongs to: Tune pickles its callbacks."""
    return lambda text: driver.notify(text)


def _callbacks(driver: Driver, folder: Path, workplace: Workplace, guard: DiskGuard, slots: Slots) -> list[Callback]:
    """The callbacks in the order in which Tune calls them; the guard is one of them."""
    watchdog = Watchdog(driver, folder / "errors")
    shutdown = Shutdown(workplace.stop_file, _notify(driver))
    events = EventCallback(driver, _LoserCheckpoints(driver, workplace.checkpoints).ended, watchdog.cause)
    waiting = WaitingNotice(demand(slots), supply_of_cluster, _notify(driver))
    return [RayProcessCheck(), shutdown, guard, watchdog, waiting, events]


def _workplace(driver: Driver, checkpoints: Path, slots: Slots) -> Workplace:
    token, watch = secrets.token_hex(8), driver.sweep.watch
    return Workplace(
        checkpoints=checkpoints,
        token=token,
        store=f"kurabe-checkpoints-{token}",
        folder=os.getcwd(),
        rule=driver.sweep.select,
        threads=slots.cpu,
        gpu=slots.gpu,
        disk_floor=watch.disk_floor << 20,
        disk_wait=watch.disk_wait,
        plug_ins=driver.sweep.plug_ins,
    )


def _assign(driver: Driver, workplace: Workplace) -> Callable[[Row], Assignment]:
    """The function that makes a row's assignment."""
    plug_ins = {
        entry.name: PlugIn(source=entry.plugin_source, path=str(entry.plugin_path))
        for entry in driver.sweep.methods
        if entry.plugin_source
    }
    may_split = driver.sweep.retry.out_of_memory == "accumulate"

    def assign(row: Row) -> Assignment:
        return Assignment(
            key=row.key,
            study=row.study,
            repeat=row.repeat,
            spec=row.spec,
            workplace=workplace,
            parts=row.accumulate,
            may_split=may_split,
            plug_in=plug_ins.get(row.method),
        )

    return assign


class _LoserCheckpoints:
    """Deletes the states of ended trials but those of each study's winner and of interrupted trials."""

    def __init__(self, driver: Driver, folder: Path) -> None:
        self._driver, self._folder = driver, folder
        self._winners = {study.id: driver.best(study.id) for study in driver.sweep.studies()}

    def ended(self, row: Row) -> None:
        best = self._driver.best(row.study)
        loser = self._winners[row.study] if best is row else row
        self._winners[row.study] = best
        if loser is not None and loser.outcome != "preempted":
            (self._folder / f"{loser.key}.pt").unlink(missing_ok=True)


def _tuner(
    driver: Driver, slots: Slots, searcher: RowSearcher, callbacks: list[Callback], states: BranchStates, scratch: str
) -> tune.Tuner:
    """One Tuner over all studies: actors are reused, a trial whose worker dies is started again."""
    sweep = driver.sweep
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots.count)
    return tune.Tuner(
        tune.with_resources(TrialTrainable, PlacementGroupFactory([slots.bundle])),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=searcher,
            scheduler=schedulers.make(driver, states),
            max_concurrent_trials=slots.count,
            reuse_actors=True,
            trial_name_creator=lambda trial: assignment_of(trial).key,
            trial_dirname_creator=lambda trial: assignment_of(trial).key,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            verbose=0,
            stop=CombinedStopper(SpendingStopper(driver), *(each for each in callbacks if isinstance(each, Shutdown))),
            callbacks=callbacks,
            failure_config=tune.FailureConfig(max_failures=sweep.retry.lost),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
