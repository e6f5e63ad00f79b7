"""Results folders as tidy data frames: a row per trial, a row per evaluation, a row per winner and test image."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.api.loaded_sweep import HEAD, LoadedSweep, head, read_one
from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.invocation import called_by
from platform.core.row import Row
from platform.report.trial_tables import curve_records, read_curves, trial_record

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Results:
    """One or several sweeps as data frames.

    trials: a row per trial. sweep, method, study (METHOD/INDEX), study_index, trial (number in its study, 0 = the
    defaults), repeat (0 = the search), winner (of its study, by the selection rule), key; then outcome (completed,
    pruned, diverged, failed, preempted, running), score, test_accuracy, steps, seconds, ...; hp.NAME of each searched
    value.
    curves: a row per evaluation of a trial, a column per metric; the first columns as in `trials`.
    predictions: a row per winner and test image, made from the stored checkpoints when first asked for.
    """

    trials: pd.DataFrame
    curves: pd.DataFrame
    sweeps: list[LoadedSweep] = field(repr=False)

    @property
    def folders(self) -> list[Path]:
        return [sweep.folder for sweep in self.sweeps]

    @functools.cached_property
    def predictions(self) -> pd.DataFrame:
        """sweep, method, study, study_index, trial, key, image (place in the test set), label (-1 = unknown),
        predicted, correct, confidence (probability of the predicted class).

        Raises UserError where no winner can be brought back; where some cannot, a warning says so.
        """
        from platform.api.predictions import predict_all

        with called_by("python"):
            return predict_all(self.sweeps)

    def one(self, sweep: str | None = None) -> LoadedSweep:
        """The sweep of that name, or the only one. Raises UserError."""
        found = [one for one in self.sweeps if sweep is None or one.info.name == sweep]
        if len(found) == 1:
            return found[0]
        names = [one.info.name for one in self.sweeps]
        if sweep is None:
            raise UserError(Problem(f"which of these sweeps? sweep=NAME: {', '.join(names)}"))
        if found:
            raise UserError(Problem(f"{len(found)} folders are called '{sweep}'", hint="load one of them alone"))
        raise UserError(Problem(f"no sweep '{sweep}' was loaded", hint=did_you_mean(sweep, names)))

    def __repr__(self) -> str:
        parts = [f"{one.folder}: {len(one.rows)} trials, {len(one.winners)} winners" for one in self.sweeps]
        return f"Results({'; '.join(parts)}) with .trials, .curves, .predictions"


def read_results(folders: Sequence[str | Path]) -> Results:
    """Read results/NAME, one or several. Raises UserError with the problems of all of them."""
    import pandas as pd

    if not folders:
        raise UserError(Problem("no folder was named", hint='kurabe.load("results/NAME")'))
    sweeps, problems = [], []
    for folder in folders:
        try:
            sweeps.append(read_one(Path(folder)))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*dict.fromkeys(problems))
    trials = [_trial(sweep, row) for sweep in sweeps for row in sweep.rows]
    curves = [record for sweep in sweeps for record in _curves(sweep)]
    return Results(_frame(pd.DataFrame(trials)), _frame(pd.DataFrame(curves)), sweeps)


def _trial(sweep: LoadedSweep, row: Row) -> dict[str, Any]:
    first = ("outcome", "score", "test_accuracy", "steps", "seconds", "seed")
    record = trial_record(row) | {"outcome": row.outcome or "running"}
    rest = {name: value for name, value in record.items() if name not in (*first, *HEAD)}
    return head(sweep, row) | {name: record[name] for name in first} | rest


def _curves(sweep: LoadedSweep) -> list[dict[str, Any]]:
    """A record per evaluation; of rows without reports in the ledger, what curves.parquet has kept."""
    kept: dict[tuple[str, str], list[dict[str, Any]]] = {}
    if any(not row.reports and row.outcome for row in sweep.rows):
        for record in read_curves(sweep.folder / "curves.parquet"):
            kept.setdefault((record["key"], record["study"]), []).append(record)
    return [
        head(sweep, row) | record
        for row in sweep.rows
        for record in (curve_records(row) if row.reports else kept.get((row.key, row.study), []))
    ]


def _frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as numbers where some are missing: None is NaN."""
    for name in ("score", "test_accuracy"):
        if name in frame:
            frame[name] = frame[name].astype(float)
    if "step" in frame:
        frame["step"] = frame["step"].astype(int)
    return frame if len(frame.columns) else frame.reindex(columns=list(HEAD))
