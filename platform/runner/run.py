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
from ray.tune.execution.placement_groups import PlacementGroupFactory

from platform.runner.bench import Bench
from platform.runner.checkpoints import Store
from platform.runner.cluster import Slots
from platform.runner.trainable import TrialTrainable
from platform.runner.tune_bridge import BenchCallback, BenchSearcher, StudyScheduler, payload
from platform.table import Row


def run(bench: Bench, folder: Path, slots: Slots) -> list[Row]:
    """Run every missing row; all rows in the end. Ctrl-C ends running trials at their last checkpoint."""
    sweep = bench.sweep
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(exist_ok=True)
    token = secrets.token_hex(8)
    (checkpoints / "TOKEN").write_text(token)
    store_name = f"kurabe-checkpoints-{token}"
    store: Any = ray.remote(num_cpus=0)(Store).options(name=store_name).remote(str(checkpoints.resolve()))
    common = {
        "folder": str(checkpoints.resolve()),
        "cwd": os.getcwd(),
        "token": token,
        "store": store_name,
        "select": bench.rule.name,
        "threads": slots.cpu,
        "device": slots.device,
    }
    plugins = {
        m.name: {"source": m.plugin_source, "path": str(m.plugin_path)} for m in sweep.methods if m.plugin_source
    }

    def make_payload(row: Row) -> dict[str, Any]:
        mine = {"key": row.key, "study": row.study, "spec": row.spec.model_dump(mode="json")}
        return common | mine | {"plugin": plugins.get(row.method)}

    def drop_checkpoint(row: Row) -> None:
        """Keep the state of each study's winner; of the others nothing more is asked."""
        best = bench.best(row.study)
        for other in bench.rows.values():
            if other.study == row.study and other.outcome not in (None, "preempted") and other is not best:
                (checkpoints / f"{other.key}.pt").unlink(missing_ok=True)

    budget = sweep.budget
    scheduler = None
    if budget.scheduler == "asha":
        scheduler = StudyScheduler(bench, sweep.train.evaluations, budget.reduction_factor, budget.grace)
    scratch = tempfile.mkdtemp(prefix="kurabe-tune-")  # Tune's own bookkeeping: ours is the ledger
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots.count)
    bundle: dict[str, float] = {"CPU": slots.cpu} | ({"GPU": slots.gpu} if slots.gpu else {})
    try:
        tune.Tuner(
            tune.with_resources(TrialTrainable, PlacementGroupFactory([bundle])),
            tune_config=tune.TuneConfig(
                num_samples=-1,
                search_alg=BenchSearcher(bench, make_payload),
                scheduler=scheduler,
                max_concurrent_trials=slots.count,
                reuse_actors=True,
                trial_name_creator=lambda trial: payload(trial)["key"],
                trial_dirname_creator=lambda trial: payload(trial)["key"],
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                callbacks=[BenchCallback(bench, drop_checkpoint)],
                failure_config=tune.FailureConfig(max_failures=sweep.resources.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()
    except Exception as error:
        raise bench.failure or error from error
    finally:
        ray.kill(store)
        shutil.rmtree(scratch, ignore_errors=True)
    return bench.close()
