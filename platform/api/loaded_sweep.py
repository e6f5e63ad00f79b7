"""A results folder read back from its ledger, with its winners, or the words for what is wrong with it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform.core.errors import Problem, UserError, nearest
from platform.core.row import Row, SweepInfo, winner
from platform.report.judge.sweep_folder import read_sweep

HEAD = ("sweep", "method", "study", "study_index", "trial", "repeat", "winner", "key")
"""The first columns of both tables: what a row belongs to."""


@dataclass(frozen=True)
class LoadedSweep:
    """A results folder: what the sweep was, its rows in the ledger's order, the winner of each study that has one."""

    info: SweepInfo
    rows: list[Row]
    winners: dict[str, Row]

    @property
    def folder(self) -> Path:
        return Path(self.info.folder)


def read_one(folder: Path) -> LoadedSweep:
    """One folder; warns where its sweep is unfinished. Raises UserError, with the sweeps that lie in or beside it."""
    info, rows = _read(folder)
    studies = dict.fromkeys(row.study for row in rows)
    best = {study: winner([row for row in rows if row.study == study], info.maximise) for study in studies}
    unfinished = [row for row in rows if row.outcome in (None, "preempted")]
    if unfinished:
        again = info.command or f"kurabe sweep {folder} --results {folder.parent}"
        many = f"{len(unfinished)} of its {len(rows)} trials are unfinished: they run, or the sweep was interrupted"
        warnings.warn(f"{folder}: {many}. To go on: {again}", stacklevel=5)
    return LoadedSweep(info, rows, {study: row for study, row in best.items() if row is not None})


def _read(folder: Path) -> tuple[SweepInfo, list[Row]]:
    try:
        return read_sweep(folder)
    except UserError as error:
        if (folder / "ledger.jsonl").exists():
            raise
        raise UserError(*(_with_places(problem, folder) for problem in error.problems)) from error


def _with_places(problem: Problem, folder: Path) -> Problem:
    """The problem of a folder that holds no sweep, with where it was looked for and which ones there are."""
    hint = "no sweep lies in it, beside it or in ./results; make one: kurabe sweep layermatch"
    for place in (folder, folder.parent, Path("results")):
        if found := sorted(path.parent for path in place.glob("*/ledger.jsonl")):
            near = nearest(folder.name, [path.name for path in found])
            some = [str(path) for path in found if path.name == near] or [str(path) for path in found[:8]]
            hint = f"did you mean: {some[0]}" if near or len(found) == 1 else f"sweeps in {place}: {', '.join(some)}"
            break
    return Problem(f"{problem.message} ({folder.absolute()})", where=problem.where, hint=hint)


def head(sweep: LoadedSweep, row: Row) -> dict[str, Any]:
    """What a row of a table belongs to: HEAD."""
    index = row.study.rpartition("/")[2]
    best = sweep.winners.get(row.study)
    values = (
        sweep.info.name,
        row.method,
        row.study,
        int(index) if index.isdigit() else 0,
        row.number,
        row.repeat,
        row is best,
        row.key,
    )
    return dict(zip(HEAD, values, strict=True))
