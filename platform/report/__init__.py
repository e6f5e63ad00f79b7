"""The report of a sweep: files, figures and tables of results/NAME, and the screen while it runs.

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

    from platform.report.trial_tables import from_cell

    folder = Path(folder)
    trials = pd.read_csv(folder / "trials.csv", dtype={"key": str, "method": str, "study": str, "outcome": str})
    for name in trials.select_dtypes(["object", "string"]).columns:
        trials[name] = trials[name].map(from_cell)
    curves = folder / "curves.parquet"
    return Tables(trials, pd.read_parquet(curves) if curves.exists() else pd.DataFrame())
