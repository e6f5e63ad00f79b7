"""Means, intervals and paired differences against numbers worked out by hand."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from platform.core.row import winner
from platform.report.judge.estimate import mean_estimate
from platform.report.standings import Standing, paired_difference, standings, with_n
from tests.core.test_ledger import row
from tests.report.fake_sweep import FakeSweep
from tests.report.judge.ends import ends, width


def standing(method: str, tests: dict[int, float]) -> Standing:
    winners = []
    for index, accuracy in tests.items():
        won = row(index)
        won.study, won.test_accuracy, won.outcome, won.score = f"{method}/{index}", accuracy, "completed", accuracy
        winners.append(won)
    return Standing(method, winners, len(tests), Counter(), None, None)


def sweep_of(folder: Path, accuracies: list[float], select: str = "noisy_val_accuracy") -> Standing:
    """One method; the winner of each study has this score and this test accuracy."""
    sweep = FakeSweep(folder, studies=len(accuracies), trials=1)
    rows = sweep.rows()
    for won, accuracy in zip(rows, accuracies, strict=True):
        won.outcome, won.score, won.test_accuracy = "completed", accuracy, accuracy
    return standings(replace(sweep.info, select=select), rows)[0]


def test_the_interval_is_students_on_the_scale_of_the_judge(tmp_path: Path):
    found = sweep_of(tmp_path, [0.8, 0.9, 0.94])
    expected = mean_estimate([0.8, 0.9, 0.94], accuracy=True)
    assert found.test_accuracy == found.score == expected
    half = 4.302653 * 0.0721110 / 3**0.5 / (0.88 * 0.12)  # t(0.975, 2 degrees) s / sqrt(n), on the logit scale
    assert expected.high == pytest.approx(1 / (1 + math.exp(-math.log(0.88 / 0.12) - half)), rel=1e-5)


def test_a_score_that_is_no_accuracy_has_students_interval(tmp_path: Path):
    found = sweep_of(tmp_path, [0.8, 0.9, 1.0], select="val_loss")
    high, half = ends(found.score)[1], width(found.score) / 2
    assert half == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)  # t(0.975, 2 degrees)
    assert high > 1 > ends(found.test_accuracy)[1]


def test_no_interval_leaves_what_an_accuracy_can_be_or_has_no_width(tmp_path: Path):
    """Two studies gave 0.9201 [0.5231, 1.3172], two equal ones an interval of width zero."""
    two = sweep_of(tmp_path / "two", [0.8889, 0.9513]).test_accuracy
    assert with_n(two) == "0.9201 (n = 2, no interval below 3)"
    for values in ([0.9] * 2, [0.9] * 3, [0.9] * 12):
        found = sweep_of(tmp_path / "equal", values).test_accuracy
        assert found.low is None and found.high is None
    assert with_n(found) == "0.9000 (n = 12, no interval: the 12 values are equal)"
    for values in ([0.99, 0.5, 0.999], [0.0, 0.01, 0.4], [0.1, 0.9, 0.5, 0.99, 1.0]):
        found = sweep_of(tmp_path / "wide", values).test_accuracy
        low, high = ends(found)
        assert 0 <= low < found.value < high <= 1
    assert with_n(sweep_of(tmp_path / "one", [0.9]).test_accuracy) == "0.9000 (n = 1, no interval)"


def test_differences_are_within_studies_so_what_studies_share_cancels():
    a = standing("a", {0: 0.50, 1: 0.92, 2: 0.71})
    b = standing("b", {2: 0.70, 0: 0.49, 1: 0.909999999})
    found = paired_difference(a, b)
    assert found.value == pytest.approx(0.01) and found.low == pytest.approx(0.01, abs=1e-6) and width(found) > 0
    equal = paired_difference(a, standing("b", {2: 0.70, 0: 0.49, 1: 0.91}))
    assert equal.value == pytest.approx(0.01) and equal.low is None  # three equal differences are no certainty
    unpaired = mean_estimate([0.5, 0.92, 0.71])
    assert (
        unpaired is not None and unpaired.low is not None and unpaired.low < 0.2
    )  # unpaired, the same numbers say nothing


def test_studies_that_only_one_has_are_left_out():
    found = paired_difference(standing("a", {0: 0.5, 1: 0.6, 2: 0.9}), standing("b", {0: 0.4, 1: 0.6}))
    assert found.n == 2 and found.value == pytest.approx(0.05)
    assert paired_difference(standing("a", {0: 0.5}), standing("b", {0: 0.4})) is None


def test_only_completed_trials_win_and_ties_go_to_the_earlier():
    rows = [row(number) for number in range(4)]
    for r, (outcome, score) in zip(
        rows, [("completed", 0.7), ("completed", 0.7), ("pruned", 0.9), ("diverged", None)], strict=True
    ):
        r.outcome, r.score = outcome, score
    assert winner(rows, maximise=True) is rows[0]
    rows[1].score = 0.6
    assert winner(rows, maximise=False) is rows[1]
