"""results/NAME/predictions/KEY.json: counts of a trial's test predictions, kept for winners."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from platform.core.row import Row, SweepInfo
from platform.report.layer_figures import winners_of
from platform.report.trial_tables import replace_text

__all__ = ["Predictions", "keep_winners", "read_predictions", "write_predictions"]

FOLDER = "predictions"


@dataclass(frozen=True)
class Predictions:
    """confusion: [K, K] images, label by guess. bins: [B, 3] images, right ones, sum of confidences, by confidence."""

    classes: list[str]
    confusion: np.ndarray
    bins: np.ndarray


def write_predictions(folder: Path, row: Row) -> None:
    """Keep what a completed trial of the search brought (platform/training/prediction_counts.py)."""
    if row.predictions is None or row.repeat:
        return
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    text = json.dumps(row.predictions, separators=(",", ":"), ensure_ascii=False)
    replace_text(folder / FOLDER / f"{row.key}.json", text + "\n")


def keep_winners(info: SweepInfo, rows: Iterable[Row], folder: Path) -> None:
    """Delete the files of trials that have not won: only a better one than today's winner can win later."""
    rows = [row for row in rows if not row.repeat]
    won = {row.key for method in info.methods for row in winners_of(info, rows, method)}
    for path in (folder / FOLDER).glob("*.json"):
        if path.stem not in won:
            path.unlink(missing_ok=True)


def read_predictions(folder: Path, rows: Iterable[Row]) -> Predictions | None:
    """The sum over these trials; None where a file is missing or damaged, or the classes differ."""
    found = [_read(folder / FOLDER / f"{row.key}.json") for row in rows]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found) or any(one.classes != known[0].classes for one in known):
        return None
    confusion, bins = sum(one.confusion for one in known), sum(one.bins for one in known)
    return Predictions(known[0].classes, np.asarray(confusion), np.asarray(bins))


def _read(path: Path) -> Predictions | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = [str(name) for name in content["classes"]]
        confusion = np.zeros((len(classes), len(classes)), dtype=int)
        for label, guess, count in content["confusion"]:
            confusion[label, guess] = count
        bins = np.array(content["bins"], dtype=float).reshape(-1, 3)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return Predictions(classes, confusion, bins)
