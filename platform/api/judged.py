"""A comparison in Python: the judge's judgement of folders, and its tables as data frames."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from platform.api.results_tables import Results
from platform.core.errors import Problem, UserError
from platform.report.judge.comparison import open_comparison
from platform.report.judge.comparison_facts import conditions
from platform.report.judge.judgement import Judgement, judge
from platform.report.judge.score_tables import leaderboard_csv, pairs_csv

if TYPE_CHECKING:
    import pandas as pd


def judge_results(results: Sequence[str | Path | Results], allow_unequal: bool = False) -> Judgement:
    """Raises UserError where there is nothing to compare, or it cannot be compared."""
    paths = [path for one in results for path in (one.folders if isinstance(one, Results) else [Path(one)])]
    if not paths:
        raise UserError(Problem("nothing to compare was named", hint='kurabe.compare("results/NAME")'))
    return judge(open_comparison(paths, allow_unequal))


def leaderboard_frame(judged: Judgement) -> pd.DataFrame:
    """The columns of comparison/leaderboard.csv; its conditions (budget, rule, labels) as `attrs["conditions"]`."""
    return _frame(leaderboard_csv, judged)


def differences_frame(judged: Judgement) -> pd.DataFrame:
    """The columns of comparison/pairs.csv; its conditions as `attrs["conditions"]`."""
    return _frame(pairs_csv, judged)


def _frame(to_csv: Callable[[Judgement, str], str], judged: Judgement) -> pd.DataFrame:
    import pandas as pd

    frame = pd.read_csv(io.StringIO(to_csv(judged, "")), keep_default_na=False, na_values=[""])
    frame.attrs["conditions"] = "; ".join(conditions(judged.comparison))
    return frame.drop(columns="conditions", errors="ignore")
