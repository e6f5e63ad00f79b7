"""The front of score against seconds, against a search of all pairs; its file, its figure and its words."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.core.row import Row
from platform.report import pareto
from platform.report.results_folder import ResultsListener
from tests.core.test_ledger import row
from tests.report.fake_sweep import FakeSweep

points = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=12)


def trial(number: int, score: float, seconds: float, outcome: Any = "completed") -> Row:
    return replace(row(number), number=number, score=score, seconds=seconds, outcome=outcome)


@given(points, st.booleans())
def test_the_front_is_what_nothing_beats(pairs: list[tuple[int, int]], maximise: bool) -> None:
    rows = [trial(number, score, seconds) for number, (score, seconds) in enumerate(pairs)]
    sign = 1 if maximise else -1

    def beats(a: Row, b: Row) -> bool:
        better = sign * (a.score or 0) >= sign * (b.score or 0) and a.seconds <= b.seconds
        return better and (a.score, a.seconds) != (b.score, b.seconds)

    unbeaten = {(r.score, r.seconds) for r in rows if not any(beats(other, r) for other in rows)}
    found = pareto.front(rows, maximise)
    assert {(r.score, r.seconds) for r in found} == unbeaten
    assert [r.seconds for r in found] == sorted(r.seconds for r in found)
    assert len(found) == len(unbeaten)  # of equals, one


def test_only_completed_trials_count() -> None:
    rows = [trial(0, 0.5, 5.0), trial(1, 0.9, 1.0, "pruned"), trial(2, float("nan"), 0.5), trial(3, 0.4, 6.0)]
    assert pareto.front(rows, maximise=True) == rows[:1]


class _Both(FakeSweep):
    @property
    def info(self) -> Any:
        info = super().info
        info.resolved["budget"]["objectives"] = ["score", "seconds"]
        return info


@pytest.mark.slow
def test_it_is_written_drawn_and_said(tmp_path: Path) -> None:
    sweep = _Both(tmp_path, outcomes=("completed",))
    rows = sweep.run(ResultsListener(tmp_path))
    with (tmp_path / "pareto.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [record["key"] for record in records] == [row.key for row in pareto.front(rows, maximise=True)]
    assert (tmp_path / "figures" / "pareto.png").stat().st_size > 5000
    assert f"Pareto front of layermatch/0: {len(records)} trial" in (tmp_path / "leaderboard.md").read_text()


@pytest.mark.slow
def test_one_objective_has_no_front(tmp_path: Path) -> None:
    FakeSweep(tmp_path).run(ResultsListener(tmp_path))
    assert not (tmp_path / "pareto.csv").exists() and not (tmp_path / "figures" / "pareto.png").exists()
