"""A sweep without training: rows and reports in the order and form in which the runner sends them."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platform.core.events import Listener, SweepEnded, SweepStarted, TrialEnded, TrialReported, TrialStarted
from platform.core.row import Row, SweepInfo
from platform.core.spec import DataSettings, LabelSettings, TrainSettings, TrialSpec, derive_seed

TRACEBACK = """Traceback (most recent call last):
  File "platform/training/trial.py", line 90, in reports
    terms = self.method.step(batch, self.optimizer)
  File "methods/layermatch.py", line 55, in loss
    raise ValueError("no class has a confident pseudo-label")
ValueError: no class has a confident pseudo-label
"""


@dataclass
class FakeSweep:
    """`outcomes` are given to the trials of every study in turn, from trial 1 on; trial 0 completes."""

    folder: Path
    methods: list[str] = field(default_factory=lambda: ["layermatch"])
    studies: int = 1
    trials: int = 6
    steps: int = 600
    evaluations: int = 5
    tracking: str = "sqlite:///results/mlflow.db"
    outcomes: tuple[str, ...] = ("pruned", "completed", "diverged", "completed", "failed")
    command: str = "python -m platform.sweep search_spaces/layermatch.yaml"
    name: str = ""
    repeats: int = 0
    seconds: float | None = None
    test_labels: Any = "true"

    @property
    def info(self) -> SweepInfo:
        studies = [f"{method}/{index}" for method in self.methods for index in range(self.studies)]
        resolved = {
            "name": self.name or self.folder.name,
            "methods": self.methods,
            "data": {"source": "digits"},
            "labels": {"per_class": 4, "noise": "none"},
            "train": {"steps": self.steps},
            "search": {"centre_ema": {"uniform": [0.9, 0.999]}, "train.lr": {"log_uniform": [0.001, 0.3]}},
            "budget": {"trials": self.trials, "studies": self.studies, "scheduler": "asha"},
            "select": "noisy_val_accuracy",
            "tracking": self.tracking,
        }
        provenance = {
            "git": {"commit": "0123456789abcdef", "dirty": False},
            "versions": {"python": "3.11.9", "torch": "2.15.0"},
            "hardware": {"cpu": "a cpu", "cores": 2, "gpus": []},
            "data_sha256": "d" * 64,
            "labels_sha256": {f"study {index}": "e" * 64 for index in range(self.studies)},
        }
        return SweepInfo(
            name=self.name or self.folder.name,
            folder=self.folder,
            methods=self.methods,
            studies=studies,
            trials_per_study=self.trials,
            steps=self.steps,
            select="noisy_val_accuracy",
            maximise=True,
            tracking=self.tracking,
            resolved=resolved,
            provenance=provenance,
            command=self.command,
            slots=2,
            seconds_per_study=self.seconds,
            repeats=self.repeats,
            complete=set(studies),
            test_labels=self.test_labels,
        )

    def rows(self) -> list[Row]:
        return [
            self.row(method, index, number)
            for method in self.methods
            for index in range(self.studies)
            for number in range(self.trials)
        ]

    def row(self, method: str, index: int, number: int) -> Row:
        chance = random.Random(derive_seed(0, method, index, number))
        lr = 0.03 if number == 0 else 10 ** chance.uniform(-3, -0.5)
        params: dict[str, Any] = {
            "centre_ema": 0.99 if number == 0 else chance.uniform(0.9, 0.999),
            "train.lr": lr,
            "train.batch_size": 64 if number == 0 else chance.choice([16, 32, 64]),
        }
        seed = derive_seed(0, index)
        spec = TrialSpec(
            method=method,
            hyper={"centre_ema": params["centre_ema"], "threshold": 0.95},
            model="small_cnn",
            train=TrainSettings(steps=self.steps, lr=lr, batch_size=params["train.batch_size"]),
            data=DataSettings(source="digits"),
            labels=LabelSettings(per_class=4),
            seeds={"data": seed, "noise": seed, "split": seed, "init": seed, "order": seed, "search": index},
        )
        return Row(spec.key, method, f"{method}/{index}", index, number, params, spec)

    def outcome(self, row: Row) -> str:
        return "completed" if row.number == 0 else self.outcomes[(row.number - 1) % len(self.outcomes)]

    def reports(self, row: Row) -> list[dict[str, float]]:
        """Accuracy that rises to a level which depends on the learning rate, one report per evaluation."""
        chance = random.Random(row.key)
        top = 0.95 - 0.12 * abs(math.log10(row.params["train.lr"]) + 1.5)
        outcome = self.outcome(row)
        count = {"pruned": 2, "diverged": 3, "failed": 1}.get(outcome, self.evaluations)
        found = []
        for i in range(1, count + 1):
            share = i / self.evaluations
            accuracy = top * (1 - math.exp(-4 * share)) + chance.gauss(0, 0.008)
            diverged = outcome == "diverged" and i == count
            found.append(
                {
                    "step": i * self.steps // self.evaluations,
                    "evaluation": i,
                    "seconds": 4.0 * i,
                    "train_loss": math.nan if diverged else 2.3 * math.exp(-3 * share),
                    "noisy_val_accuracy": accuracy,
                    "clean_val_accuracy": accuracy + 0.01,
                    "val_clid": 0.4 - 0.2 * share,
                    "test_accuracy": accuracy - 0.01,
                    "lr": row.params["train.lr"] * (1 - share),
                    "images_per_second": 5000.0,
                    "loss/labelled": 1.1 * math.exp(-3 * share),
                    "loss/unlabelled": 0.3 * share,
                    "diag/utilisation": share,
                    "diag/gate open": 0.5,
                    "score": accuracy,
                }
            )
        return found

    def start(self, row: Row, *listeners: Listener) -> None:
        for listener in listeners:
            listener.handle(TrialStarted(row))

    def report(self, row: Row, report: dict[str, float], *listeners: Listener) -> None:
        row.reports.append(report)
        row.steps, row.seconds = int(report["step"]), report["seconds"]
        for listener in listeners:
            listener.handle(TrialReported(row, report))

    def end(self, row: Row, *listeners: Listener) -> None:
        row.outcome = self.outcome(row)  # type: ignore[assignment]
        if row.reports and row.outcome in ("completed", "pruned"):
            row.score, row.test_accuracy = row.reports[-1]["score"], row.reports[-1]["test_accuracy"]
        row.error = TRACEBACK if row.outcome == "failed" else ""
        for listener in listeners:
            listener.handle(TrialEnded(row))

    def run(self, *listeners: Listener, slots: int = 2) -> list[Row]:
        """The whole sweep, `slots` trials side by side; the answer is the table."""
        info, rows = self.info, self.rows()
        for listener in listeners:
            listener.handle(SweepStarted(info))
        waiting, running = list(rows), []
        while waiting or running:
            while waiting and len(running) < slots:
                row = waiting.pop(0)
                running.append((row, iter(self.reports(row))))
                self.start(row, *listeners)
            for entry in list(running):
                row, reports = entry
                report = next(reports, None)
                if report is None:
                    self.end(row, *listeners)
                    running.remove(entry)
                else:
                    self.report(row, report, *listeners)
        for listener in listeners:
            listener.handle(SweepEnded(rows))
        return rows
