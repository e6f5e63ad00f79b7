"""One trial inside a Ray actor: an ordinary `Trial` iterator behind Tune's class interface.

The actor is reused from trial to trial and keeps the decoded images. What goes wrong inside a trial is caught and
reported as an outcome with its traceback, so the actor and the sweep go on; only a dying process reaches Ray.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from platform.core.errors import UserError
from platform.core.redaction import redact
from platform.core.registry import FINDERS, METHODS
from platform.core.spec import TrialSpec, branch_point, derive_seed
from platform.runner.guards import out_of_memory, stack_dump
from platform.runner.guards.ray_processes import die_with_parent, ignore_sigterm
from platform.runner.messages import Assignment, Progress, WorkerProcess
from platform.runner.tune.checkpoint_store import Checkpoints
from platform.training import accumulation, trial_data
from platform.training.report import Report
from platform.training.selection import get as get_rule
from platform.training.slot_device import slot_device


class TrialTrainable(tune.Trainable):
    """Each `step` trains to the next evaluation, saves a checkpoint and returns a `Progress`."""

    _notice = ""  # a line for the person at the screen

    def setup(self, config: dict[str, Any]) -> None:
        import torch

        from platform.runner.guards.worker_state import ProcessState

        die_with_parent()
        ignore_sigterm()
        self._begin(config)
        torch.set_num_threads(max(1, int(self._assignment.workplace.threads)))
        self._stacks = stack_dump.register()
        self._process = ProcessState()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        self._outgrown = self._process.outgrown()
        return True

    def process(self) -> WorkerProcess:
        """Describe this process to the driver's watchdog, which asks as a trial starts."""
        node = ray.get_runtime_context().get_node_id()
        return WorkerProcess(node, os.getpid(), self._stacks, out_of_memory.kernel_kills())

    def _begin(self, config: dict[str, Any]) -> None:
        """Do nothing that can fail: a trial that cannot start must end as failed, not take the actor down."""
        self._assignment = Assignment.from_config(config)
        self._parts = self._assignment.parts
        self._outgrown = False  # this process holds too much memory: the driver takes another one
        self._failed_at = 0.0  # seconds that an attempt had trained when it failed: charged, whatever follows
        self._forget()

    def _forget(self) -> None:
        self._trial: Any = None
        self._iterator: Iterator[Report] = iter(())
        self._reports: list[dict[str, float]] = []
        self._sends_all = self._stopped = False

    def step(self) -> dict[str, Any]:
        return self._next().to_result()

    def _next(self) -> Progress:
        if self._outgrown:
            return replace(self._progress(None), outgrown=True)
        while True:
            error, short = self._attempt()
            if error is None:
                return self._progress(self._outcome)
            if not short:
                return self._progress("failed", error)
            if refused := self._split_further():
                return self._progress("failed", f"{short}: {_last_line(error)}\n{refused}\n{error}")

    def _attempt(self) -> tuple[str | None, str]:
        """Train to the next evaluation. (traceback or None, what memory ran out); the tensors it held are free then."""
        try:
            if self._trial is None:
                self._start()
            if not self._sends_all:
                self._advance()
            return None, ""
        except (Exception, SystemExit) as error:
            self._failed_at = max(self._failed_at, self._trial.seconds if self._trial is not None else 0.0)
            return redact(traceback.format_exc().strip()), out_of_memory.of_exception(error)

    def _split_further(self) -> str:
        """Go back to the checkpoint, the batches in twice as many parts; why not, where that cannot be."""
        reports = self._reports
        self._forget()
        self._reports = reports  # for the last progress, where the trial ends here
        out_of_memory.release()
        if not self._assignment.may_split:
            return "to try again with its batches split: retry.out_of_memory=accumulate"
        spec = self._assignment.spec
        parts, why = accumulation.next_parts(spec, self._method(spec), self._in_parts())
        self._parts = parts or self._parts
        return why

    def _in_parts(self) -> int:
        """Parts of a step: those of the sweep file, or more because memory ran out."""
        return max(self._parts, self._assignment.spec.train.accumulate)

    def cleanup(self) -> None:
        self._forget()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        from platform.training.trial import Trial

        spec, workplace = self._assignment.spec, self._assignment.workplace
        self._reports = []
        self._process.restore(derive_seed(spec.seeds["order"], "process"))
        if Path(workplace.folder).is_dir():
            os.chdir(workplace.folder)  # relative paths of the sweep file mean the driver's folder
        for plug_in in workplace.plug_ins:
            FINDERS[plug_in.kind].receive(plug_in.source, plug_in.path)
        self._rule = get_rule(workplace.rule)
        cls = self._method(spec)
        data = trial_data.PROCESS_DATA
        dataset, plan = data.load(spec)
        self._checkpoints = Checkpoints(workplace)
        device = slot_device(workplace.gpu)
        self._trial = Trial(spec, dataset, plan, cls, device, data.images, self._in_parts())
        self._trial.interrupted = self._checkpoints.stop_asked
        data.images = self._trial.images  # the next trial of this actor finds them on the device
        self._iterator = self._trial.reports()
        self._outcome: str | None = None
        saved = self._load()
        if saved:
            self._reports, self._outcome = saved["reports"], saved["outcome"]
            self._parts = max(self._parts, saved.get("accumulate", 1))
            self._trial.method.accumulate = self._in_parts()
            # The driver may not have all reports, or its ledger was torn. It passes over those that it knows.
            self._sends_all = bool(self._own())
            if self._outcome is None:
                self._iterator = self._trial.reports()
        elif spec.parent:
            self._reports = self._checkpoints.branch(spec.parent, self._trial)["reports"]

    def _method(self, spec: TrialSpec) -> Any:
        plug_in = self._assignment.plug_in
        return METHODS.from_source(plug_in.source, plug_in.path) if plug_in else METHODS.get(spec.method)

    def _load(self) -> dict[str, Any] | None:
        """Load the state saved beside the trial. None where there is no checkpoint, or none that can be read."""
        try:
            return self._checkpoints.load(self._assignment.key, self._trial)
        except UserError as error:
            self._notice = f"its checkpoint cannot be used, so it starts over: {error.problems[0].message}"
            return None

    def _advance(self) -> None:
        report = next(self._iterator, None)
        if report is None:  # interrupted between two evaluations: what was trained since the last one is kept
            self._save()
            self._stopped = True
            return
        metrics = {k: float(v) for k, v in report.metrics.items()}
        row = {"evaluation": float(len(self._reports) + 1), "step": float(report.step), "seconds": report.seconds}
        if self._in_parts() > 1:
            metrics["accumulate"] = float(self._in_parts())
        self._reports.append(row | metrics)
        row["score"] = float(self._rule.score([_selectable(r) for r in self._reports]))
        self._reports[-1] = row | metrics
        self._outcome = report.outcome
        self._save()

    def _save(self) -> None:
        beside = {"reports": self._reports, "outcome": self._outcome, "accumulate": self._parts}
        self._checkpoints.save(self._assignment.key, self._trial, beside)

    def _own(self) -> list[dict[str, float]]:
        """The trial's own reports: a child's history begins with its parent's."""
        return self._reports[branch_point(self._assignment.spec.parent)[1] :]

    def _progress(self, outcome: str | None, error: str = "") -> Progress:
        own = self._own()
        reports = own if self._sends_all else own[-1:]
        notice, self._notice, self._sends_all = self._notice, "", False
        return Progress(
            key=self._assignment.key,
            reports=reports,
            outcome=outcome,
            error=error,
            notice=notice,
            parts=self._parts,
            seconds=max(self._failed_at, self._trial.seconds if self._trial is not None else 0.0),
            saved=self._stopped,
        )


def _selectable(report: dict[str, float]) -> dict[str, float]:
    """The metrics that a selection rule may see: all but those of the test set."""
    return {name: value for name, value in report.items() if not name.startswith("test_")}


def _last_line(error: str) -> str:
    return error.splitlines()[-1]
