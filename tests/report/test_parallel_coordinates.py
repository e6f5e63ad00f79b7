"""Parallel coordinates: heights of values, logarithms, words, values that a trial does not have."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from platform.report.figures import RED
from platform.report.parallel_coordinates import UNSET, draw_parallel_coordinates
from tests.report.fake_sweep import FakeSweep


def test_lines_pass_their_values_and_end_at_the_score(tmp_path: Path):
    sweep = FakeSweep(tmp_path / "digits", trials=4, outcomes=("completed", "completed", "diverged"))
    rows = sweep.run()
    for number, row in enumerate(rows):
        row.params = {"train.lr": (0.001, 0.01, 0.1, 1.0)[number], "gate": ("soft", "hard", "soft", "hard")[number]}
        row.score = (0.5, 0.9, 0.7, None)[number]
    rows[2].params["only"] = 3.5
    axis = draw_parallel_coordinates(sweep.info, "layermatch", rows).axes[0]
    lines = {line.get_gid(): line for line in axis.lines if (line.get_gid() or "").startswith("trials:")}
    assert set(lines) == {f"trials:{row.key}" for row in rows[:3]}, "a diverged trial has no score"
    heights = [list(lines[f"trials:{row.key}"].get_ydata()) for row in rows[:3]]
    assert heights[0] == pytest.approx([0, 1, UNSET, 0])
    assert heights[1] == pytest.approx([math.log(10) / math.log(100), 0, UNSET, 1])
    assert heights[2] == pytest.approx([1, 1, 0.5, 0.5])
    assert lines[f"trials:{rows[1].key}"].get_color() == RED


def test_fewer_than_two_completed_trials_are_not_drawn(tmp_path: Path):
    sweep = FakeSweep(tmp_path / "digits", trials=2, outcomes=("failed",))
    assert draw_parallel_coordinates(sweep.info, "layermatch", sweep.run()) is None
