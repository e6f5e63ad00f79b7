"""One trial inside a Ray actor: an ordinary `Trial` iterator behind Tune's class interface.

The actor is reused from trial to trial and keeps the decoded images. What goes wrong inside a trial is caught and
reported as an outcome with its traceback, so the actor and the sweep go on; only a dying process reaches Ray.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray import tune

from platform.core.errors import UserError
from platform.core.redaction import redact
from platform.core.registry import METHODS
from platform.core.spec import TrialSpec, branch_point, derive_seed
from platform.runner.guards import out_of_memory, stack_dump
from platform.runner.guards.ray_processes import die_with_parent
from platform.runner.tune.checkpoint_store import Checkpoints
from platform.training import accumulation, trial_data
from platform.training.report import Report
from platform.training.selection import get as get_rule


class TrialTrainable(tune.Trainable):
    """Each `step` trains to the next evaluation, saves a checkpoint and returns the report."""

    _notice = ""  # a line for the person at the screen

    def setup(self, config: dict[str, Any]) -> None:
        import torch

        from platform.runner.guards.worker_state import Fresh

        die_with_parent()
        torch.set_num_threads(max(1, int(json.loads(config["trial"])["threads"])))
        self._stacks = stack_dump.register()
        self._fresh = Fresh()
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        self._spent = self._fresh.outgrown()
        return True

    def whereabouts(self) -> dict[str, Any]:
        """Where this process is, for the driver's watchdog; asked as a trial starts."""
        node = ray.get_runtime_context().get_node_id()
        return {"node": node, "pid": os.getpid(), "stacks": self._stacks, "kills": out_of_memory.kernel_kills()}

    def _begin(self, config: dict[str, Any]) -> None:
        """Nothing that can fail: a trial that cannot start must end as failed, not take the actor down."""
        self._config = json.loads(config["trial"])
        self._parts = self._config["accumulate"]
        self._spent = False  # this process holds too much: the driver takes another one
        self._failed_at = 0.0  # seconds that an attempt had trained when it failed: charged, whatever follows
        self._forget()

    def _forget(self) -> None:
        self._trial: Any = None
        self._iterator: Iterator[Report] = iter(())
        self._reports: list[dict[str, float]] = []
        self._repeats = self._stopped = False

    def step(self) -> dict[str, Any]:
        if self._spent:
            return self._result(None) | {"spent": True}
        while True:
            error, short = self._attempt()
            if error is None:
                return self._result(self._outcome)
            if not short:
                return self._result("failed", error)
            if refused := self._split_further():
                return self._result("failed", f"{short}: {_last_line(error)}\n{refused}\n{error}")

    def _attempt(self) -> tuple[str | None, str]:
        """Train to the next evaluation. (traceback or None, what memory ran out); the tensors it held are free then."""
        try:
            if self._trial is None:
                self._start()
            if not self._repeats:
                self._advance()
            return None, ""
        except (Exception, SystemExit) as error:
            self._failed_at = max(self._failed_at, self._trial.seconds if self._trial is not None else 0.0)
            return redact(traceback.format_exc().strip()), out_of_memory.of_exception(error)

    def _split_further(self) -> str:
        """Go back to the checkpoint, the batches in twice as many parts; why not, where that cannot be."""
        reports = self._reports
        self._forget()
        self._reports = reports  # for the last word, if it is one
        out_of_memory.release()
        if not self._config["split"]:
            return "to try again with its batches split: retry.out_of_memory=accumulate"
        spec = TrialSpec(**self._config["spec"])
        parts, why = accumulation.next_parts(spec, self._method(spec), self._in_parts())
        self._parts = parts or self._parts
        return why

    def _in_parts(self) -> int:
        """Parts of a step: what the sweep file says, or more because memory ran out."""
        return max(self._parts, self._config["spec"]["train"]["accumulate"])

    def cleanup(self) -> None:
        self._forget()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        from platform.training.trial import Trial

        config = self._config
        self._reports = []
        self._fresh.restore(derive_seed(config["spec"]["seeds"]["order"], "process"))
        if Path(config["cwd"]).is_dir():
            os.chdir(config["cwd"])  # relative paths of the sweep file mean the driver's folder
        self._spec = TrialSpec(**config["spec"])
        self._rule = get_rule(config["select"])
        cls = self._method(self._spec)
        data = trial_data.PROCESS_DATA
        dataset, plan = data.load(self._spec)
        self._checkpoints = Checkpoints(Path(config["folder"]), config["token"], config["store"], *config["room"])
        self._trial = Trial(self._spec, dataset, plan, cls, config["device"], data.images, self._in_parts())
        self._trial.interrupted = self._checkpoints.stop_asked
        data.images = self._trial.images  # the next trial of this actor finds them on the device
        self._iterator = self._trial.reports()
        self._outcome: str | None = None
        saved = self._load()
        if saved:
            self._reports, self._outcome = saved["reports"], saved["outcome"]
            self._parts = max(self._parts, saved.get("accumulate", 1))
            self._trial.method.accumulate = self._in_parts()
            # Reports may not have reached the driver, or its ledger was torn: send all again, it tells them apart.
            self._repeats = bool(self._own())
            if self._outcome is None:
                self._iterator = self._trial.reports()
        elif self._spec.parent:
            self._reports = self._checkpoints.branch(self._spec.parent, self._trial)["reports"]

    def _method(self, spec: TrialSpec) -> Any:
        plugin = self._config.get("plugin")
        return METHODS.from_source(plugin["source"], plugin["path"]) if plugin else METHODS.get(spec.method)

    def _load(self) -> dict[str, Any] | None:
        """What was saved beside the trial. None where there is no checkpoint, or none that can be read."""
        try:
            return self._checkpoints.load(self._config["key"], self._trial)
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
        row["score"] = self._rule.score([_selectable(r) for r in self._reports])
        self._reports[-1] = row | metrics
        self._outcome = report.outcome
        self._save()

    def _save(self) -> None:
        beside = {"reports": self._reports, "outcome": self._outcome, "accumulate": self._parts}
        self._checkpoints.save(self._config["key"], self._trial, beside)

    def _own(self) -> list[dict[str, float]]:
        """The reports of its own: a child's history begins with its parent's."""
        return self._reports[branch_point(self._config["spec"].get("parent", ""))[1] :]

    def _result(self, outcome: str | None, error: str = "") -> dict[str, Any]:
        own = self._own() or [{}]
        last = own[-1]
        told = own if self._repeats else [last]
        notice, self._notice, self._repeats = self._notice, "", False
        return {
            "key": self._config["key"],
            "evaluation": int(last.get("evaluation", 0)),
            "score": last.get("score"),
            "report": told,  # in a list: of every number in a dict Tune keeps two histories, 50 kB per trial
            "outcome": outcome,
            "error": error,
            "notice": notice,
            "accumulate": self._parts,
            "saved": self._stopped,
            "seconds": max(self._failed_at, self._trial.seconds if self._trial is not None else 0.0),
            "done": outcome is not None,
        }


def _selectable(report: dict[str, float]) -> dict[str, float]:
    """What a selection rule may see: everything but what the test set gave."""
    return {name: value for name, value in report.items() if not name.startswith("test_")}


def _last_line(error: str) -> str:
    return error.splitlines()[-1]
