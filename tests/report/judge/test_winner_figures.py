"""Figures of winners over training: means over studies, bands from the lowest to the highest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from platform.report.judge.comparison import of_sweep
from platform.report.judge.comparison_figures import COLOURS
from platform.report.judge.judgement import Judgement, judge
from platform.report.judge.prediction_figures import confused_words, draw_confusion, draw_reliability
from platform.report.judge.winner_figures import draw_calibration, draw_label_split, draw_winner_curves
from platform.report.layer_figures import winners_of
from platform.report.prediction_files import Predictions, read_predictions, write_predictions
from tests.report.fake_sweep import FakeSweep

COUNTS = {
    "classes": ["cat", "dog"],
    "confusion": [[0, 0, 30], [0, 1, 10], [1, 1, 20]],
    "bins": [[40, 20, 30.0], [20, 20, 19.0], [4, 0, 1.0]],
}


def judged(folder: Path, **reported: float) -> tuple[Judgement, list]:
    sweep = FakeSweep(folder, methods=["a", "b"], studies=2, trials=2, outcomes=("completed",))
    rows = sweep.run()
    for row in rows:
        row.predictions = COUNTS
        write_predictions(folder, row)
        for report in row.reports:
            report |= {name: value * report["evaluation"] for name, value in reported.items()}
    return judge(of_sweep(sweep.info, rows)), winners_of(sweep.info, rows, "b")


def test_curves_are_means_over_winners_in_the_method_s_colour(tmp_path: Path):
    found, won = judged(tmp_path / "digits")
    score, test = draw_winner_curves(found).axes
    lines = {line.get_label(): line for line in test.lines}
    expected = [(x["test_accuracy"] + y["test_accuracy"]) / 2 for x, y in zip(*(r.reports for r in won), strict=True)]
    assert list(lines["b"].get_ydata()) == pytest.approx(expected)
    assert [lines[name].get_color() for name in "ab"] == list(COLOURS[:2])
    assert "never selected on" in test.get_title() and score.get_title().startswith("score: validation accuracy")


def test_only_what_was_recorded_is_drawn(tmp_path: Path):
    found, _ = judged(tmp_path / "digits")
    assert draw_calibration(found) is None and draw_label_split(found) is None
    found, _ = judged(tmp_path / "more", **{"diag/ece": 0.01, "diag/confidence_right": 0.1, "diag/mask_rate": 0.2})
    left, right = draw_calibration(found).axes
    assert list(left.lines[0].get_ydata()) == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert [list(line.get_xdata()) for line in right.lines[:2]] == [[0.5], [0.5]], "wrong ones are not known"
    assert [axis.get_title() for axis in draw_label_split(found).axes] == ["pseudo-labels used"]


def test_confusion_and_reliability_are_of_the_winners_of_all_studies(tmp_path: Path):
    found, won = judged(tmp_path / "digits")
    both = read_predictions(tmp_path / "digits", won)
    texts = {(t.get_position(), t.get_text()) for t in draw_confusion(both).axes[0].texts}
    assert texts == {((0, 0), "60"), ((1, 0), "20"), ((1, 1), "40")}
    assert confused_words(both) == "Most often: cat taken for dog (25% of its images)."
    (axis,) = draw_reliability(found).axes
    assert list(axis.lines[1].get_xdata()) == [0.75, 0.95] and list(axis.lines[1].get_ydata()) == [0.5, 1.0]


def test_a_class_without_images_and_a_perfect_model():
    found = Predictions(["a", "b"], np.array([[5, 0], [0, 0]]), np.zeros((15, 3)))
    assert confused_words(found) == "" and len(draw_confusion(found).axes[0].texts) == 1
