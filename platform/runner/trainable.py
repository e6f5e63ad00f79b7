"""One trial inside a Ray actor: an ordinary `Trial` iterator behind Tune's class interface.

The actor is reused from trial to trial and keeps the decoded images. What goes wrong inside a trial is caught and
reported as an outcome with its traceback, so the actor and the sweep go on; only a dying process reaches Ray.
"""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from typing import Any

from ray import tune

import methods
from platform.errors import UserError
from platform.runner.checkpoints import Checkpoints
from platform.runner.lifeline import die_with_parent
from platform.selection import get as get_rule
from platform.spec import TrialSpec

_LOADED: dict[str, Any] = {}  # datasets and label plans of this process, by their settings


class TrialTrainable(tune.Trainable):
    """Each `step` trains to the next evaluation, saves a checkpoint and returns the report."""

    _notice = ""  # a line for the person at the screen

    def setup(self, config: dict[str, Any]) -> None:
        import torch

        die_with_parent()
        self._begin(config)
        torch.set_num_threads(max(1, int(self._config["threads"])))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        """Nothing that can fail: a trial that cannot start must end as failed, not take the actor down."""
        self._config = json.loads(config["trial"])
        self._trial: Any = None
        self._reports: list[dict[str, float]] = []
        self._repeat_last = False

    def step(self) -> dict[str, Any]:
        try:
            if self._trial is None:
                self._start()
            if self._repeat_last:
                self._repeat_last = False
            else:
                self._advance()
            return self._result(self._outcome)
        except Exception:
            return self._result("failed", traceback.format_exc().strip())

    def cleanup(self) -> None:
        self._trial = None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        from platform.training.trial import Trial

        config = self._config
        if Path(config["cwd"]).is_dir():
            os.chdir(config["cwd"])  # relative paths of the sweep file mean the driver's folder
        self._spec = TrialSpec(**config["spec"])
        self._rule = get_rule(config["select"])
        plugin = config.get("plugin")
        cls = methods.from_source(plugin["source"], plugin["path"]) if plugin else methods.get(self._spec.method)
        dataset, plan = load_data(self._spec)
        self._trial = Trial(self._spec, dataset, plan, cls, device=config["device"], images=_LOADED.get("images"))
        _LOADED["images"] = self._trial.images  # the next trial of this actor finds them on the device
        self._checkpoints = Checkpoints(Path(config["folder"]), config["token"], config["store"])
        self._iterator = self._trial.reports()
        self._outcome: str | None = None
        saved = self._load()
        if saved:
            self._reports, self._outcome = saved["reports"], saved["outcome"]
            # The report may not have reached the driver before the process died: send it again, it is told apart.
            self._repeat_last = bool(self._reports)
            if self._outcome is None:
                self._iterator = self._trial.reports()

    def _load(self) -> dict[str, Any] | None:
        """What was saved beside the trial. None where there is no checkpoint, or none that can be read."""
        try:
            return self._checkpoints.load(self._config["key"], self._trial)
        except UserError as error:
            self._notice = f"its checkpoint cannot be used, so it starts over: {error.problems[0].message}"
            return None

    def _advance(self) -> None:
        report = next(self._iterator)
        metrics = {k: float(v) for k, v in report.metrics.items()}
        row = {"evaluation": float(len(self._reports) + 1), "step": float(report.step), "seconds": report.seconds}
        self._reports.append(row | metrics)
        row["score"] = self._rule.score([_selectable(r) for r in self._reports])
        self._reports[-1] = row | metrics
        self._outcome = report.outcome
        self._checkpoints.save(self._config["key"], self._trial, {"reports": self._reports, "outcome": self._outcome})

    def _result(self, outcome: str | None, error: str = "") -> dict[str, Any]:
        last = self._reports[-1] if self._reports else {}
        notice, self._notice = self._notice, ""
        return {
            "key": self._config["key"],
            "evaluation": int(last.get("evaluation", 0)),
            "score": last.get("score"),
            "report": last,
            "outcome": outcome,
            "error": error,
            "notice": notice,
            "seconds": self._trial.seconds if self._trial is not None else 0.0,
            "done": outcome is not None,
        }


def _selectable(report: dict[str, float]) -> dict[str, float]:
    """What a selection rule may see: everything but what the test set gave."""
    return {name: value for name, value in report.items() if not name.startswith("test_")}


def load_data(spec: TrialSpec) -> tuple[Any, Any]:
    """Dataset and label plan of a trial, kept by the process. RuntimeError where this node sees other data."""
    from platform.data import open_dataset
    from platform.data.plan import make_plan

    data_key = spec.data.model_dump_json() + str(spec.seeds["data"])
    if data_key not in _LOADED:
        _LOADED.clear()  # another data set: one sweep has one, do not hoard
        _LOADED[data_key] = open_dataset(spec.data, spec.seeds["data"])
    dataset = _LOADED[data_key]
    plan_key = f"{data_key}|{spec.labels.model_dump_json()}|{sorted(spec.seeds.items())}"
    if plan_key not in _LOADED:
        _LOADED[plan_key] = make_plan(dataset, spec.labels, spec.seeds)
    plan = _LOADED[plan_key]
    facts = (("data", dataset.fingerprint, spec.data_hash), ("labels", plan.sha256, spec.labels_hash))
    for name, here, driver in facts:
        if driver and here != driver:
            raise RuntimeError(f"this node sees other {name} than the driver: sha256 {here[:12]}, not {driver[:12]}")
    return dataset, plan
