"""Means, intervals and paired differences against numbers worked out by hand."""

from collections import Counter

import pytest

from platform.core.row import winner
from platform.report.standings import Standing, mean, paired_difference
from tests.core.test_ledger import row


def standing(method: str, tests: dict[int, float]) -> Standing:
    winners = []
    for index, accuracy in tests.items():
        won = row(index)
        won.study, won.test_accuracy, won.outcome, won.score = f"{method}/{index}", accuracy, "completed", accuracy
        winners.append(won)
    return Standing(method, winners, len(tests), Counter(), None, None)


def test_the_interval_is_students():
    found = mean([0.8, 0.9, 1.0])
    assert found.value == pytest.approx(0.9) and found.n == 3
    assert found.high is not None and found.high - found.value == pytest.approx(
        4.302653 * 0.1 / 3**0.5, rel=1e-6
    )  # t(0.975, 2 degrees)


def test_differences_are_within_studies_so_what_studies_share_cancels():
    a = standing("a", {0: 0.50, 1: 0.92, 2: 0.71})
    b = standing("b", {2: 0.70, 0: 0.49, 1: 0.91})
    found = paired_difference(a, b)
    assert found.value == pytest.approx(0.01) and found.low == pytest.approx(0.01, abs=1e-9)
    unpaired = mean([0.5, 0.92, 0.71])
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
