"""The report judges rows: files, figures and tables of results/NAME, and what a person sees while a sweep runs.

`load(folder)` reads results/NAME back as two data frames in one call.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pandas as pd


class Tables(NamedTuple):
    trials: pd.DataFrame  # one row per trial, as trials.csv
    curves: pd.DataFrame  # one row per evaluation, as curves.parquet; empty before the first one


def load(folder: str | Path) -> Tables:
    """The tables of results/NAME. Raises FileNotFoundError where there is no trials.csv."""
    import pandas as pd

    from platform.report.files import from_cell

    folder = Path(folder)
    trials = pd.read_csv(folder / "trials.csv", dtype={"key": str, "method": str, "study": str, "outcome": str})
    trials = trials.apply(lambda column: column.map(from_cell) if column.dtype in (object, "string") else column)
    curves = folder / "curves.parquet"
    return Tables(trials, pd.read_parquet(curves) if curves.exists() else pd.DataFrame())
