"""The fan-out: one Tuner over all studies, rows from the bench, events to the listeners."""

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

from platform.runner import interrupt, schedulers
from platform.runner.bench import Bench
from platform.runner.checkpoints import Store
from platform.runner.cluster import RayLost, Slots
from platform.runner.disk import DiskGuard, Room
from platform.runner.lifeline import Lifeline, lost_processes
from platform.runner.snapshots import Snapshots
from platform.runner.stopping import Stopping
from platform.runner.trainable import TrialTrainable
from platform.runner.tune_bridge import BenchCallback, BenchSearcher, SpendingStopper, payload
from platform.runner.watchdog import Watchdog
from platform.table import Row


class _Keeper:
    """Keeps the state of each study's winner and of interrupted trials; of the others nothing more is asked."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench, self._folder = bench, folder
        self._kept = {study.id: bench.best(study.id) for study in bench.sweep.studies()}

    def ended(self, row: Row) -> None:
        best = self._bench.best(row.study)
        loser = self._kept[row.study] if best is row else row
        self._kept[row.study] = best
        if loser is not None and loser.outcome != "preempted":
            (self._folder / f"{loser.key}.pt").unlink(missing_ok=True)


def run(bench: Bench, folder: Path, slots: Slots) -> list[Row]:
    """Run every missing row; all rows in the end. Asked to end (interrupt.py), trials save where they are."""
    checkpoints = (folder / "checkpoints").resolve()
    checkpoints.mkdir(exist_ok=True)
    token = secrets.token_hex(8)
    (checkpoints / "TOKEN").write_text(token)
    store_name = f"kurabe-checkpoints-{token}"
    store: Any = ray.remote(num_cpus=0)(Store).options(name=store_name).remote(str(checkpoints))
    limits = (bench.sweep.watch.disk_floor << 20, bench.sweep.watch.disk_wait)
    common = {
        "folder": str(checkpoints),
        "cwd": os.getcwd(),
        "token": token,
        "store": store_name,
        "select": bench.rule.name,
        "threads": slots.cpu,
        "device": slots.device,
        "room": limits,
    }
    files = [entry for entry in bench.sweep.methods if entry.plugin_source]
    plugins = {entry.name: {"source": entry.plugin_source, "path": str(entry.plugin_path)} for entry in files}

    def make_payload(row: Row) -> dict[str, Any]:
        mine = {"key": row.key, "study": row.study, "repeat": row.repeat, "spec": row.spec.model_dump(mode="json")}
        mine |= {"accumulate": row.accumulate, "split": bench.sweep.retry.out_of_memory == "accumulate"}
        return common | mine | {"plugin": plugins.get(row.method)}

    scratch = tempfile.mkdtemp(prefix="kurabe-tune-")  # Tune's own bookkeeping: ours is the ledger
    snapshots = Snapshots(checkpoints)
    stopping, watchdog = Stopping(bench, checkpoints), Watchdog(bench, folder / "errors")
    teller = BenchCallback(bench, _Keeper(bench, checkpoints).ended, watchdog.cause)
    guard = DiskGuard(Room(folder, *limits), bench)
    bench.ledger.wait_for_room = guard.hold
    followers = [Lifeline(), stopping, guard, watchdog, teller]
    try:
        _tuner(bench, slots, BenchSearcher(bench, make_payload), followers, snapshots, scratch).fit()
    except RayLost:
        if not interrupt.requested():  # a SIGTERM to all processes of a job ends Ray's, too
            raise
    except Exception as error:
        if bench.failure is None and (lost := lost_processes()):
            raise RayLost(", ".join(lost)) from error
        raise bench.failure or error from error
    finally:
        if not lost_processes():
            ray.kill(store)
        shutil.rmtree(scratch, ignore_errors=True)
    guard.on_end()
    rows = bench.close()
    if not any(row.outcome == "preempted" for row in rows):
        snapshots.clear()
    return rows


def _tuner(
    bench: Bench, slots: Slots, searcher: BenchSearcher, followers: list[Callback], snapshots: Snapshots, scratch: str
) -> tune.Tuner:
    """One Tuner over all studies: actors are reused, a trial whose worker dies is started again."""
    sweep = bench.sweep
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots.count)
    bundle: dict[str, float] = {"CPU": slots.cpu} | ({"GPU": slots.gpu} if slots.gpu else {})
    return tune.Tuner(
        tune.with_resources(TrialTrainable, PlacementGroupFactory([bundle])),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=searcher,
            scheduler=schedulers.make(bench, snapshots),
            max_concurrent_trials=slots.count,
            reuse_actors=True,
            trial_name_creator=lambda trial: payload(trial)["key"],
            trial_dirname_creator=lambda trial: payload(trial)["key"],
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=scratch,
            verbose=0,
            stop=CombinedStopper(SpendingStopper(bench), *(f for f in followers if isinstance(f, Stopping))),
            callbacks=followers,
            failure_config=tune.FailureConfig(max_failures=sweep.retry.lost),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
