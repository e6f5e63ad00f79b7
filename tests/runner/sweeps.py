"""Sweeps for the runner's tests: a small file, the driver over it, and trials played by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from platform import sweepfile
from platform.core.ledger import Ledger
from platform.core.row import Row
from platform.runner.driver import Driver
from platform.runner.messages import Assignment, Progress, Workplace
from platform.training import selection

SPACE = """
name: small
methods: [supervised, pseudo_label]
labels: {per_class: 4}
train: {steps: 20, evaluations: 4}
search:
  model_ema: {uniform: [0.9, 0.999]}
  train.lr: {log_uniform: [1e-3, 0.3]}
budget: {trials: 5}
tracking: none
"""


def load(folder: Path, text: str = SPACE, *overrides: str) -> sweepfile.Sweep:
    path = folder / "small.yaml"
    path.write_text(text)
    return sweepfile.load(path, list(overrides))


def driver(folder: Path, sweep: sweepfile.Sweep, *listeners: Any) -> Driver:
    rule = selection.get(sweep.select)
    labels = {(study.index, 0): f"labels{study.index}" for study in sweep.studies()}
    return Driver(sweep, rule, Ledger(folder, sweep.resolved()), list(listeners), "data", labels)


def report(row: Row, evaluation: int, score: float) -> dict[str, Any]:
    metrics = {"evaluation": float(evaluation), "step": evaluation * 5.0, "seconds": float(evaluation)}
    return metrics | {"score": score, "noisy_val_accuracy": score, "test_accuracy": score / 2}


def play(book: Driver, row: Row, scores: list[float], outcome: str | None = "completed") -> None:
    """Send a row's evaluations as Tune would; outcome None with an end = stopped by the scheduler."""
    for number, score in enumerate(scores, 1):
        last = number == len(scores)
        book.reported(Progress(row.key, [report(row, number, score)], outcome if last else None), last)


def quality(row: Row) -> float:
    """A made-up score that depends on the parameters alone."""
    return 1 - (row.params["model_ema"] - 0.95) ** 2 * 100 - abs(row.params["train.lr"] - 0.05)


def play_all(book: Driver, limit: int = 1000) -> list[Row]:
    """One slot: every row is asked, run and told before the next."""
    played: list[Row] = []
    while len(played) < limit and (row := book.next_row()) is not None:
        book.ask_ahead()  # as when a trial has started
        stopped = row.number % 3 == 2
        play(book, row, [quality(row)] * (1 if stopped else 4), None if stopped else "completed")
        played.append(row)
    return played


WORKPLACE = Workplace(
    checkpoints=Path("none"), token="here", store="none", folder="none", rule="noisy_val_accuracy", threads=1,
    gpu=0, disk_floor=0, disk_wait=0,
)  # fmt: skip


def assigned(row: Row, **more: Any) -> Assignment:
    """What a worker is given of the row."""
    return Assignment(key=row.key, study=row.study, spec=row.spec, workplace=WORKPLACE, parts=row.accumulate, **more)
