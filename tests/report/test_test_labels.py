"""Test accuracy against labels that may be wrong is nowhere called test accuracy alone."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from platform.report.figures import learning_curves, methods_side_by_side
from platform.report.judge.sweep_headlines import headlines
from platform.report.leaderboard import leaderboard
from platform.report.screen import ScreenListener
from platform.report.standings import standings
from platform.tracking.experiment_page import ExperimentPage
from platform.tracking.run_content import NOTE
from platform.tracking.study_content import StudyContent
from tests.report.fake_sweep import FakeSweep

NAME = re.compile(r"test[ _]accuracy(?! is test accuracy)(?! \(labels as given\))")
"""The quantity without its qualification; MLflow's sentence explains the metric's own name."""


def texts(sweep: FakeSweep) -> dict[str, str]:
    """All that people read of a sweep, white space joined."""
    screen = Console(file=io.StringIO(), width=80)
    rows = sweep.run(ScreenListener(console=screen))
    info = sweep.info
    figures = [learning_curves(info, info.methods[0], rows), methods_side_by_side(info, standings(info, rows))]
    titles = [axis.get_title() for figure in figures for axis in figure.axes]
    found = {
        "screen": screen.file.getvalue(),  # type: ignore[attr-defined]
        "leaderboard": leaderboard(info, rows),
        "figures": " ".join(titles),
        "study in MLflow": StudyContent(info, info.studies[0]).opening().tags[NOTE],
        "experiment in MLflow": ExperimentPage(info).tags("1", "")[NOTE],
        "findings in MLflow": ExperimentPage(info, headlines(info, rows)).tags("1", "")[NOTE],
    }
    return {place: " ".join(text.split()) for place, text in found.items()}


def a_sweep(folder: Path, test_labels: str, **more: int) -> FakeSweep:
    return FakeSweep(folder / "mine", methods=["supervised", "fixmatch"], studies=2, test_labels=test_labels, **more)


@pytest.mark.parametrize("repeats", [0, 2])
def test_doubtful_labels_are_named_everywhere(tmp_path: Path, repeats: int) -> None:
    sweep = a_sweep(tmp_path, "as given", repeats=repeats)
    for place, text in texts(sweep).items():
        assert "test accuracy (labels as given)" in text, place
        assert not NAME.search(text), (place, NAME.search(text))
    assert StudyContent(sweep.info, "supervised/0").opening().tags["kurabe.test_labels"] == "as given"


def test_true_labels_need_no_qualification(tmp_path: Path) -> None:
    for place, text in texts(a_sweep(tmp_path, "true")).items():
        assert "test accuracy (labels" not in text and "may be wrong" not in text, place


def test_the_last_screen_says_what_that_means(tmp_path: Path) -> None:
    said = texts(a_sweep(tmp_path, "as given"))["screen"]
    assert "no true test label is known: labels as given may be as wrong as those trained on" in said
