"""One sweep from its file to its last screen: data, label plans, folder, ledger, listeners, Ray. Used by the door."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import Any

import platform.training.selection as selection
from platform.core.errors import Problem, UserError
from platform.core.events import Listener, SweepStarted
from platform.core.files import DISK_FULL, free_name
from platform.core.ledger import Ledger
from platform.core.registry import RULES
from platform.core.row import Row, SweepInfo
from platform.data import open_dataset
from platform.data.dataset import Dataset, LabelPlan
from platform.data.label_plan import make_plan, save_plan
from platform.report.provenance import provenance
from platform.report.results_folder import ResultsListener
from platform.report.screen import ScreenListener
from platform.runner import cluster
from platform.runner.driver import Driver
from platform.runner.guards import signals
from platform.runner.guards.ray_processes import end_orphans, owned_by_sweep
from platform.sweepfile import Sweep
from platform.sweepfile.schema import with_defaults
from platform.training.slots import Slots, slots_here
from platform.training.trial import check_truth

RESTARTS = 5
"""Of a private Ray that died. A machine that kills it more often than that will not finish the sweep."""


class Session:
    """Everything up to Ray is checked in `__init__` and at the head of `run`: bad input starts nothing.

    Raises UserError from any step, with all that is wrong in it.
    """

    def __init__(self, sweep: Sweep, results: Path, command: str) -> None:
        self.sweep, self.results, self.command = sweep, results, command
        self.rule = selection.get(sweep.select)
        self.dataset, self.plans, self.repeat_plans = self._open_data()
        if self.rule.needs_truth and any(plan.true is None for plan in self.plans.values()):
            hint = "rules without need of it: " + ", ".join(
                name for name in RULES.names() if not selection.get(name).needs_truth
            )
            raise UserError(Problem(f"'{self.rule.name}' needs true labels; this data has none", "select", hint=hint))
        for entry in sweep.methods:
            with sweep.locate():
                check_truth(entry.name, entry.cls, self.plans[0])

        self._check_fit()

    def _check_fit(self) -> None:
        """Build each method's first trial, so that what does not fit together is said before anything starts.

        Only the defaults are tried: a proposal that does not fit ends as a failed trial with the same words.
        """
        from platform.training.trial import Trial

        problems: list[Problem] = []
        for study in self.sweep.studies():
            if study.index == 0:
                try:
                    with self.sweep.locate():
                        Trial(study.resolve(study.start), self.dataset, self.plans[0], study.method.cls)
                except UserError as error:
                    problems += error.problems
                except (ValueError, LookupError) as error:
                    problems.append(Problem(str(error), key=study.method.name, where=self.sweep.path))
        if problems:
            raise UserError(*dict.fromkeys(problems))

    def _open_data(self) -> tuple[Dataset, dict[int, LabelPlan], dict[tuple[int, int], LabelPlan]]:
        """The data, the label plan of each study, and of each of its repeats by (study, repeat)."""
        sweep = self.sweep
        pairs = [(index, repeat + 1) for index in range(sweep.budget.studies) for repeat in range(sweep.budget.repeats)]
        studies = {study.index: study for study in self.sweep.studies()}
        seeds = studies[0].seeds
        with self.sweep.locate():
            dataset = open_dataset(self.sweep.data, seeds["data"], progress=True)
            plans = {index: make_plan(dataset, self.sweep.labels, study.seeds) for index, study in studies.items()}
            again = {pair: make_plan(dataset, sweep.labels, sweep.repeat_seeds(*pair)) for pair in pairs}
        return dataset, plans, again

    def print_plan(self, calibrate: bool = True) -> None:
        """What would run, without running it. calibrate: train a few steps to say how long it will take."""
        from rich.console import Console

        from platform.dry_run.plan import describe

        console = Console()
        console.print(describe(self.sweep, self.dataset, self.plans))
        if calibrate:
            with console.status("training a few steps of every method, to say how long it will take"):
                found = self._forecast()
            console.print(found)

    def _forecast(self) -> Any:
        import time

        from platform.core.ledger import read_rows
        from platform.dry_run.calibrate import calibrate
        from platform.dry_run.forecast import describe, predict

        folder, sweep = self.results / self.sweep.name, self.sweep
        done = read_rows(folder / "ledger.jsonl")[1] if (folder / "ledger.jsonl").exists() else {}
        slots = slots_here(sweep.resources, sum(s.trials for s in sweep.studies()))
        found = predict(sweep, calibrate(sweep, slots), slots.count, done)
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        return describe(sweep, found, slots.count, folder, shutil.disk_usage(there).free, time.time())

    def run(self, address: str | None = None, fresh: bool = False) -> int:
        """Run what is missing. Exit code as the door's."""
        address = cluster.check(address)
        lost: list[str] = []
        while True:
            try:
                return self._attempt(address, fresh=fresh and not lost)
            except cluster.RayLost as error:
                lost.append(str(error))
                print(f"Ray's {error} is gone", file=sys.stderr, flush=True)
                if len(lost) > RESTARTS:
                    hint = f"what was recorded is kept; is memory short? then go on: {self.command}"
                    problem = Problem(f"Ray died {len(lost)} times on this machine", hint=hint)
                    raise UserError(problem, closing="the sweep goes on where it was") from error
                print("starting Ray again; trials go on from their last evaluation", file=sys.stderr, flush=True)

    def _attempt(self, address: str | None, fresh: bool) -> int:
        """From the folder to the last screen. Raises RayLost where a private Ray died on the way."""
        tracker = self._tracker(self.results / self.sweep.name)
        folder = self._folder(fresh)
        ledger = Ledger(folder, self.sweep.resolved(), with_defaults)
        try:
            for index, plan in self.plans.items():
                save_plan(plan, folder / "labels" / f"study-{index}.npz")
            for (index, repeat), plan in self.repeat_plans.items():
                save_plan(plan, folder / "labels" / f"study-{index}-repeat-{repeat}.npz")
            driver = self._driver(folder, ledger, tracker)
            missing = driver.left()
            todo = "starting Ray" if missing else "nothing is left to run"
            print(f"{self.sweep.path} is checked; {todo}", flush=True)
            if left := end_orphans(folder):
                print(f"ended {left} processes that an earlier run, killed, had left behind", flush=True)
            if missing:
                self._start_ray(address, folder)
            return self._run(folder, driver, tracker, missing)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            hint = f"free some space, then: {self.command}"
            problem = Problem("the disk is full; what was recorded is kept", str(folder), hint=hint)
            raise UserError(problem, closing="the sweep goes on where it was") from error
        finally:
            ledger.close()
            cluster.stop()

    def _start_ray(self, address: str | None, folder: Path) -> None:
        cluster.prepare()
        # Before Ray: where two nodes share a disk, the second unpacks a job's code anew over the one this process uses.
        import platform.runner.tune.tuner  # noqa: F401

        with signals.around_ray(), owned_by_sweep(folder) if not address else contextlib.nullcontext():
            cluster.start(address, self.sweep.resources)

    def _driver(self, folder: Path, ledger: Ledger, tracker: Any) -> Driver:
        hashes = (self.dataset.fingerprint, {index: plan.sha256 for index, plan in self.plans.items()})
        listeners: list[Listener] = [ResultsListener(folder), *([tracker] if tracker else [])]
        repeat_hashes = {pair: plan.sha256 for pair, plan in self.repeat_plans.items()}
        return Driver(self.sweep, self.rule, ledger, listeners, hashes, repeat_hashes)

    def _run(self, folder: Path, driver: Driver, tracker: Any, missing: int) -> int:
        find = cluster.slots if missing else slots_here
        slots = find(self.sweep.resources, max(1, missing))
        info = self._info(folder, slots.count, driver)
        known = list(driver.rows.values())
        screen = ScreenListener(info, links=tracker.links if tracker else list)
        if tracker:
            tracker.notify = screen.notice
        if driver.ledger.repaired:
            screen.notice(driver.ledger.repaired)
        driver.listeners.append(screen)
        driver.notify = screen.notice
        try:
            for listener in driver.listeners:
                listener.handle(SweepStarted(info, known))
            with signals.while_running():
                rows = self._rows(driver, folder, slots) if missing else driver.close()
        finally:
            screen.close()
            if tracker:
                tracker.close()
        ended_early = signals.requested() and driver.left() > 0  # what ran may have completed before it could save
        if ended_early or any(row.outcome == "preempted" for row in rows):
            return signals.exit_code()
        return 0 if any(row.outcome == "completed" for row in rows) else 1

    def _rows(self, driver: Driver, folder: Path, slots: Slots) -> list[Row]:
        from platform.runner.tune.tuner import (
            run,  # Tune's import takes two seconds: only where there is something to run
        )

        return run(driver, folder, slots)

    def _info(self, folder: Path, slots: int, driver: Driver) -> SweepInfo:
        sweep, studies = self.sweep, self.sweep.studies()
        planned = sum(study.trials + sweep.budget.repeats for study in studies)
        facts = provenance() | {
            "data_sha256": self.dataset.sha256,
            "labels_sha256": {f"study {i}": plan.sha256 for i, plan in self.plans.items()},
            "data_notes": [*self.dataset.notes, *next(iter(self.plans.values())).notes],
        }
        return SweepInfo(
            name=sweep.name,
            folder=folder,
            methods=[m.name for m in sweep.methods],
            studies=[s.id for s in studies],
            trials_per_study=sweep.budget.trials,
            steps=sweep.train.steps,
            select=sweep.select,
            maximise=self.rule.maximise,
            tracking=sweep.tracking,
            resolved=sweep.resolved(),
            provenance=facts,
            command=self.command,
            slots=slots,
            id=driver.ledger.id,
            seconds_per_study=sweep.budget.seconds,
            repeats=sweep.budget.repeats,
            planned=None if sweep.budget.seconds is not None else planned,
            complete=driver.complete,
            remarks=driver.remarks,
        )

    def _folder(self, fresh: bool) -> Path:
        """results/NAME, writable; with `fresh`, an earlier one is moved aside, never deleted."""
        folder = self.results / self.sweep.name
        try:
            if fresh and folder.exists():
                aside = free_name(
                    lambda number: f"{folder.name}.{number}", lambda name: folder.with_name(name).exists()
                )
                folder.rename(folder.with_name(aside))
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            floor = self.sweep.watch.disk_floor
            if free < floor << 20:
                raise UserError(
                    Problem(
                        f"only {free / 2**20:.0f} MiB are free there; a sweep needs {floor} or more (watch.disk_floor)",
                        str(folder),
                        hint="free some space, or take another place: --results DIR",
                    )
                )
            probe = folder / ".writable"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise UserError(
                Problem(f"cannot write there: {error.strerror}", str(folder), hint="another place: --results DIR")
            ) from error
        return folder

    def _tracker(self, folder: Path) -> Any:
        if self.sweep.tracking == "none":
            return None
        from platform.tracking.mlflow_writer import MlflowListener

        tracker = MlflowListener(self.sweep.tracking, folder)
        with self.sweep.locate():
            tracker.prepare()
        return tracker
