"""The whole of `--dry-run`: the plan, then what it will take."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from platform.core.ledger import read_rows
from platform.data.dataset import Dataset, LabelPlan
from platform.dry_run import forecast, plan
from platform.dry_run.calibrate import calibrate
from platform.sweepfile import Sweep
from platform.training.slots import fitting, here, slots_here, surplus

if TYPE_CHECKING:
    from rich.console import RenderableType


def print_preview(
    sweep: Sweep, dataset: Dataset, plans: Mapping[int, LabelPlan], folder: Path, measured: bool = True
) -> None:
    """Print what a sweep would run into `folder` (results/NAME), without running it.

    plans: label plans by study. measured: train a few steps of every method to forecast how long it will take.
    """
    from rich.console import Console

    console = Console()
    console.print(plan.describe(sweep, dataset, plans))
    if too_many := surplus(sweep.resources, here()):
        console.print(f"{too_many}\n", style="bold", markup=False, highlight=False)
    if measured:
        with console.status("training a few steps of every method, to say how long it will take"):
            found = _forecast(sweep, folder)
        console.print(found)


def _forecast(sweep: Sweep, folder: Path) -> RenderableType:
    ledger = folder / "ledger.jsonl"
    done = read_rows(ledger)[1] if ledger.exists() else {}
    slots = slots_here(sweep.resources, sum(study.trials for study in sweep.studies()))
    slots = replace(slots, count=max(1, min(slots.count, fitting(sweep.resources, here()))))
    predicted = forecast.predict(sweep, calibrate(sweep, slots), slots.count, done)
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return forecast.describe(sweep, predicted, slots.count, folder, shutil.disk_usage(there).free, time.time())
