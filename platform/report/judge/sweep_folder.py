"""A results folder read back from its ledger: what the sweep was, its rows, and what its label plans hold."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from platform.core.errors import Problem, UserError
from platform.core.ledger import read_rows
from platform.core.plugins import BrokenPlugin, UnknownPlugin
from platform.core.registry import RULES
from platform.core.row import Row, SweepInfo

HINT = "python -m platform.compare results/NAME"
DOUBT = "the true labels are unknown"


def read_sweep(folder: Path) -> tuple[SweepInfo, list[Row]]:
    """The sweep of results/NAME and its rows, in the ledger's order. Nothing is locked or changed.

    The budget is that of `sweep.yaml`, which every run rewrites: a sweep may be continued with a larger one. Raises
    UserError where the folder is missing or empty, holds no sweep, or one of another version.
    """
    if not folder.is_dir():
        raise UserError(Problem("no such folder", where=str(folder), hint=HINT))
    if not (folder / "ledger.jsonl").exists():
        empty = not any(folder.iterdir())
        message = "an empty folder" if empty else "a folder without ledger.jsonl: no sweep wrote it"
        sweeps = sorted(path.parent.name for path in folder.glob("*/ledger.jsonl"))
        hint = f"sweeps in it: {', '.join(str(folder / name) for name in sweeps[:8])}" if sweeps else HINT
        raise UserError(Problem(message, where=str(folder), hint=hint))
    resolved, found = read_rows(folder / "ledger.jsonl")
    rows = list(found.values())
    if not rows:
        raise UserError(Problem("its ledger holds no trial yet", where=str(folder), hint="let the sweep run first"))
    resolved = resolved | {"budget": _latest(folder, "budget") or resolved.get("budget") or {}}
    info = sweep_info(folder, resolved, rows)
    if label_counts(info).truth is False:
        info.test_labels = "as given"
    return info, rows


def sweep_info(folder: Path, resolved: dict[str, Any], rows: list[Row]) -> SweepInfo:
    """The facts that a ledger holds of its sweep, in the form in which a running sweep tells its listeners."""
    budget, select = resolved.get("budget") or {}, str(resolved.get("select", ""))
    methods = list(dict.fromkeys(row.method for row in rows))
    written = [str(name) for name in resolved.get("methods") or methods]
    methods += [name for name in written if "/" not in name and not name.endswith(".py") and name not in methods]
    order = {name: place for place, name in enumerate(written)}
    methods.sort(key=lambda name: order.get(name, len(order)))
    indices = {int(index) for row in rows if (index := row.study.rpartition("/")[2]).isdigit()}
    count = max(int(budget.get("studies") or 1), *(index + 1 for index in indices), 1)
    facts = _json(folder / "provenance.json")
    return SweepInfo(
        name=folder.resolve().name,
        folder=folder,
        methods=methods,
        studies=[f"{method}/{index}" for method in methods for index in range(count)],
        trials_per_study=budget.get("trials"),
        steps=int((resolved.get("train") or {}).get("steps") or 0),
        select=select,
        maximise=_maximise(select, folder),
        tracking=str(resolved.get("tracking", "none")),
        resolved=resolved,
        provenance=facts,
        command=str(facts.get("command", "")),
        seconds_per_study=budget.get("seconds"),
        repeats=int(budget.get("repeats") or 0),
        test_labels="as given" if facts.get("test_labels") == "as given" else "true",
    )


def _maximise(select: str, folder: Path) -> bool:
    try:
        return bool(RULES.get(select).MAXIMISE)
    except (UnknownPlugin, BrokenPlugin) as error:
        hint = "is its plug-in installed? winners cannot be told without it"
        raise UserError(Problem(str(error), key="select", where=str(folder), hint=hint)) from error


def _latest(folder: Path, section: str) -> dict[str, Any] | None:
    try:
        found = yaml.safe_load((folder / "sweep.yaml").read_text(encoding="utf-8"))
        return found.get(section) if isinstance(found, dict) and isinstance(found.get(section), dict) else None
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class LabelCounts:
    """Numbers of labels for training and selection; None where no label plan was kept. truth: whether it is known."""

    training: int | None
    selection: int | None
    truth: bool | None


def label_counts(info: SweepInfo) -> LabelCounts:
    """The counts from the label plan of the first study, else from what the sweep noted about it."""
    notes = [str(note) for note in info.provenance.get("data_notes") or []]
    truth = not any(DOUBT in note for note in notes) if notes else None
    for path in sorted((Path(info.folder) / "labels").glob("study-*.npz")):
        try:
            with np.load(path, allow_pickle=False) as plan:
                known = "true" in plan.files
                return LabelCounts(len(plan["labelled"]), len(plan["val"]), known)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            continue
    return LabelCounts(None, None, truth)
