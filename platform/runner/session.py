"""One sweep from its file to its last screen: inputs, folder, ledger, listeners, Ray. Used by the command."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from platform.core.errors import Problem, UserError
from platform.core.events import Listener
from platform.core.files import DISK_FULL
from platform.core.fingerprints import mixed_versions
from platform.core.ledger import Ledger
from platform.core.row import Row, SweepInfo
from platform.report.provenance import provenance
from platform.report.results_folder import ResultsListener
from platform.report.screen import ScreenListener
from platform.runner import cluster
from platform.runner.cluster_growth import Growth
from platform.runner.driver import Driver
from platform.runner.guards import ray_token, signals
from platform.runner.guards.ray_processes import end_orphans, owned_by_sweep
from platform.runner.guards.scratch import remove_abandoned, scratch_folder
from platform.runner.health.examine import check_nodes
from platform.runner.inputs import open_inputs
from platform.runner.results_place import ResultsPlace, prepare_folder
from platform.sweepfile import Sweep
from platform.sweepfile.schema import with_defaults
from platform.training.slots import Slots, here, slots_here, surplus

if TYPE_CHECKING:
    from platform.tracking.mlflow_writer import MlflowListener

RESTARTS = 5
"""Of a private Ray that died. A machine that kills it more often than that will not finish the sweep."""


class Session:
    """Everything up to Ray is checked in `__init__` and at the head of `run`: bad input starts nothing.

    Raises UserError from any step, with all that is wrong in it.
    """

    def __init__(self, sweep: Sweep, results: Path, command: str, address: str | None = None) -> None:
        """address: of a cluster, checked (cluster.check); None = this machine."""
        self.sweep, self.results, self.command, self.address = sweep, results, command, address
        self.folder = results / sweep.name
        if address is None:
            with sweep.locate():
                cluster.check_machine(sweep.resources)
        self.inputs = open_inputs(sweep)
        self.made_from = self.inputs.fingerprints(sweep)

    def run(self, fresh: bool = False) -> int:
        """Run what is missing. Returns the exit code of the command."""
        lost: list[str] = []
        while True:
            try:
                return self._attempt(fresh=fresh and not lost)
            except cluster.RayLost as error:
                lost.append(str(error))
                print(f"Ray's {error} is gone", file=sys.stderr, flush=True)
                if len(lost) > RESTARTS:
                    hint = f"what was recorded is kept; is memory short? then go on: {self.command}"
                    problem = Problem(f"Ray died {len(lost)} times on this machine", hint=hint)
                    raise UserError(problem, closing="the sweep goes on where it was") from error
                print("starting Ray again; trials go on from their last evaluation", file=sys.stderr, flush=True)

    def _attempt(self, fresh: bool) -> int:
        """Run from the folder to the last screen. Raises RayLost where a private Ray died on the way."""
        tracker = self._tracker()
        with prepare_folder(self.folder, self.sweep.watch.disk_floor, fresh) as place:
            ledger = Ledger(self.folder, self.sweep.resolved(), with_defaults, self.made_from)
            try:
                self.inputs.save_plans(self.folder / "labels")
                screen = ScreenListener(links=tracker.links if tracker else list)
                driver = self._driver(ledger, tracker, screen)
                try:
                    with signals.when_killed(screen.abandon):
                        return self._run_missing(driver, place)
                finally:
                    screen.close()
                    if tracker:
                        tracker.close()
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                hint = f"free some space, then: {self.command}"
                problem = Problem("the disk is full; what was recorded is kept", str(self.folder), hint=hint)
                raise UserError(problem, closing="the sweep goes on where it was") from error
            finally:
                ledger.close()

    def _run_missing(self, driver: Driver, place: ResultsPlace) -> int:
        missing = driver.left()
        todo = "starting Ray" if missing else "nothing is left to run"
        print(f"{self.sweep.path} is checked; {todo}", flush=True)
        if left := end_orphans(self.folder):
            print(f"ended {left} processes that an earlier run, killed, had left behind", flush=True)
        remove_abandoned(self.folder)
        if not missing:
            return self._run(driver, slots_here(self.sweep.resources, 1), driver.close)
        with scratch_folder(self.folder) as scratch:
            try:
                try:
                    growth = self._start_ray(scratch)
                except UserError:
                    place.undo()
                    raise
                slots = cluster.slots(self.sweep.resources, missing, growth)
                if self.address:
                    print(cluster.describe(slots, growth), flush=True)
                return self._run(driver, slots, lambda: self._rows(driver, slots, scratch, growth))
            finally:
                cluster.stop()

    def _start_ray(self, scratch: Path) -> Growth:
        private = not self.address
        cluster.prepare(private)
        # Before Ray: where two nodes share a disk, the second unpacks a job's code anew over the one this process uses.
        import platform.runner.tune.tuner  # noqa: F401
        from platform.tracking.connection import without_login

        ray_token.close()
        owned = owned_by_sweep(self.folder) if private else contextlib.nullcontext()
        with without_login(), signals.around_ray(), owned, self.sweep.locate():
            growth = cluster.start(self.address, self.sweep.resources, scratch)
            if not private:
                # Nodes that share a disk with this one unpack a job's code over its folder: enter the new one.
                with contextlib.chdir(os.getcwd()):
                    notes = check_nodes()
                for note in notes:
                    print(note, flush=True)
            return growth

    def _driver(self, ledger: Ledger, tracker: MlflowListener | None, screen: ScreenListener) -> Driver:
        """The screen comes last: it announces files and runs that the others have written by then."""
        results = ResultsListener(self.folder, screen.doing, signals.requested)
        listeners: list[Listener] = [results, *([tracker] if tracker else []), screen]
        inputs = self.inputs
        hashes = (inputs.dataset.fingerprint, inputs.label_hashes)
        driver = Driver(self.sweep, inputs.rule, ledger, listeners, *hashes)
        driver.notify = screen.notice
        if tracker:
            tracker.notify = screen.notice
        return driver

    def _run(self, driver: Driver, slots: Slots, rows: Callable[[], list[Row]]) -> int:
        info = self._info(slots.count, driver)
        if driver.ledger.repaired:
            driver.notify(driver.ledger.repaired)
        if mixed := mixed_versions(versions := self._versions(driver)):
            info.provenance["versions_in_order"] = versions
            driver.remarks.append(mixed)
            driver.notify(mixed)
        driver.start(info)
        if not self.address and (too_many := surplus(self.sweep.resources, here())):
            driver.notify(too_many)
        with signals.while_running():
            ended = rows()
        if info.unfinished:
            return signals.exit_code()
        return 0 if any(row.outcome == "completed" for row in ended) else 1

    def _versions(self, driver: Driver) -> list[dict[str, str]]:
        """The versions of the libraries that made the trials there, and of those that make the missing ones."""
        return [*driver.ledger.versions, *([self.made_from.versions] if driver.left() else [])]

    def _rows(self, driver: Driver, slots: Slots, scratch: Path, growth: Growth) -> list[Row]:
        from platform.runner.tune.tuner import run  # takes two seconds: only where there is something to run

        return run(driver, self.folder, slots, scratch, growth)

    def _info(self, slots: int, driver: Driver) -> SweepInfo:
        sweep, studies, inputs = self.sweep, self.sweep.studies(), self.inputs
        planned = {study.id: study.trials + sweep.budget.repeats for study in studies}
        test_labels = "true" if inputs.dataset.knows_test_truth else "as given"
        facts = provenance() | {
            "data_sha256": inputs.dataset.sha256,
            "labels_sha256": {f"study {i}": plan.sha256 for i, plan in inputs.search_plans.items()},
            "test_labels": test_labels,
            "plug_ins": {p.path: hashlib.sha256(p.source.encode()).hexdigest() for p in sweep.plug_ins},
            "data_notes": [*inputs.dataset.notes, *inputs.plans[0, 0].notes],
        }
        return SweepInfo(
            name=sweep.name,
            folder=self.folder,
            methods=[m.name for m in sweep.methods],
            studies=[s.id for s in studies],
            trials_per_study=sweep.budget.trials,
            steps=sweep.train.steps,
            select=inputs.rule.name,
            maximise=inputs.rule.maximise,
            tracking=sweep.tracking,
            resolved=sweep.resolved(),
            provenance=facts,
            command=self.command,
            slots=slots,
            id=driver.ledger.id,
            seconds_per_study=sweep.budget.seconds,
            repeats=sweep.budget.repeats,
            planned=None if sweep.budget.seconds is not None else sum(planned.values()),
            planned_of={} if sweep.budget.seconds is not None else planned,
            complete=driver.complete,
            remarks=driver.remarks,
            test_labels=test_labels,
        )

    def _tracker(self) -> MlflowListener | None:
        if self.sweep.tracking == "none":
            return None
        from platform.report.judge.sweep_headlines import headlines
        from platform.runner.winner_models import WinnerModels
        from platform.tracking.mlflow_writer import MlflowListener

        models = WinnerModels(self.sweep, self.inputs, self.folder)
        tracker = MlflowListener(self.sweep.connection, self.folder, judge=headlines, models=models)
        with self.sweep.locate():
            tracker.prepare()
        return tracker
