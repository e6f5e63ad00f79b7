"""Results folders without training: ledgers whose winners have given accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from platform.core.events import TrialEnded, TrialReported, TrialStarted
from platform.core.ledger import Ledger
from platform.core.row import Row
from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec

SEARCH = {"train.lr": {"log_uniform": [0.001, 0.3]}, "model_ema": {"uniform": [0.9, 0.999]}}


def made_sweep(
    folder: Path,
    accuracies: Mapping[str, Sequence[float | None]],
    *,
    trials: int = 3,
    granted: int | None = None,
    repeats: Mapping[str, Sequence[Sequence[float]]] | None = None,
    labels: str = "a",
    steps: int = 100,
    select: str = "noisy_val_accuracy",
    truth: bool | None = True,
    failing: str = "diverged",
    test: bool = True,
    seed: int = 0,
    default_wins: bool = False,
) -> Path:
    """accuracies: the winner's test accuracy by method and study, None = all trials of that study are `failing`.

    The last trial wins (the first where `default_wins`), its score is 0.05 above its test accuracy, and each trial
    before it is 0.01 worse. repeats: test accuracies by method, study and repeat. labels: beginning of the labels'
    hashes. truth: whether the label plan knows the true labels; None = no plan is kept.
    """
    folder.mkdir(parents=True)
    studies = max(len(values) for values in accuracies.values())
    resolved = {
        "name": folder.name,
        "methods": list(accuracies),
        "data": {"source": "digits"},
        "labels": {"per_class": 4, "noise": "none"},
        "train": {"steps": steps},
        "search": SEARCH,
        "budget": {
            "trials": granted or trials,
            "studies": studies,
            "repeats": max((len(r) for v in (repeats or {}).values() for r in v), default=0),
            "sampler": "random",
            "scheduler": "none",
        },
        "select": select,
    }
    ledger = Ledger(folder, resolved)
    for method, values in accuracies.items():
        for study, accuracy in enumerate(values):
            place = {"method": method, "study": study, "labels": labels, "steps": steps, "seed": seed + study}
            best = 0 if default_wins else trials - 1
            for number in range(trials):
                value = None if accuracy is None else accuracy - 0.01 * abs(best - number)
                _write(ledger, number, value, failing, test, **place)
            for repeat, value in enumerate((repeats or {}).get(method, [[]] * studies)[study], start=1):
                again = place | {"seed": seed + study + 10_000 * repeat}
                _write(ledger, best, value, failing, test, repeat=repeat, **again)
    ledger.close()
    if truth is not None:
        (folder / "labels").mkdir()
        plan = {"labelled": np.arange(40), "val": np.arange(144), **({"true": np.arange(3)} if truth else {})}
        np.savez(folder / "labels" / "study-0.npz", **plan)
    return folder


def _write(
    ledger: Ledger,
    number: int,
    value: float | None,
    failing: str,
    test: bool,
    *,
    method: str,
    study: int,
    labels: str,
    steps: int,
    seed: int,
    repeat: int = 0,
) -> Row:
    params: dict[str, Any] = {"train.lr": 0.03 * (number + 1), "model_ema": 0.9 + 0.001 * number}
    spec = TrialSpec(
        method=method,
        hyper={"model_ema": params["model_ema"]},
        model="small_cnn",
        train=TrainSettings(steps=steps, lr=params["train.lr"]),
        data=DataSettings(source="digits"),
        labels=LabelSettings(per_class=4),
        seeds=dict.fromkeys(AXES, seed),
        data_hash="d" * 16,
        labels_hash=f"{labels}{study}{repeat}".ljust(64, "0"),
    )
    row = Row(spec.key, method, f"{method}/{study}", seed, number, params, spec, repeat=repeat)
    ledger.handle(TrialStarted(row))
    report = {"step": float(steps), "seconds": 10.0 + number}
    row.reports.append(report)
    ledger.handle(TrialReported(row, report))
    row.outcome, row.steps, row.seconds = "completed" if value is not None else failing, steps, 10.0 + number
    if value is not None:
        row.score, row.test_accuracy = value + 0.05, value if test else None
    ledger.handle(TrialEnded(row))
    return row
