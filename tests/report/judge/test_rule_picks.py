"""What other selection rules would have picked: a case computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

from platform.report.judge.comparison import of_sweep
from platform.report.judge.judgement import judge
from platform.report.judge.rule_picks import BEST, draw_rule_picks, rule_picks, rule_picks_table
from tests.report.fake_sweep import FakeSweep


def made(folder: Path) -> list:
    """Three completed trials and a pruned one per study; each rule likes another trial."""
    sweep = FakeSweep(folder, methods=["a"], studies=2, trials=4, outcomes=("completed", "completed", "pruned"))
    rows = sweep.run()
    metrics = {0: (0.9, 0.5, 0.3, 0.7), 1: (0.8, 0.6, 0.2, 0.8), 2: (0.7, 0.4, 0.9, 0.6), 3: (1.0, 1.0, 0.0, 1.0)}
    for row in rows:
        noisy, clean, loss, test = metrics[row.number]
        index = int(row.study[-1])
        last = {"noisy_val_accuracy": noisy, "clean_val_accuracy": clean, "val_loss": loss, "val_clid": math.nan}
        row.reports[-1] |= last
        row.score, row.test_accuracy = noisy, test + index / 10
    return rule_picks(judge(of_sweep(sweep.info, rows)))


def test_each_rule_picks_by_its_own_metric_among_completed_trials(tmp_path: Path):
    (picks,) = made(tmp_path / "digits")
    accuracy = {name: round(value, 9) for name, value in picks.accuracy.items()}
    assert accuracy == {
        "noisy_val_accuracy": 0.75,  # trial 0: 0.7 and 0.8
        "clean_val_accuracy": 0.85,  # trial 1: 0.8 and 0.9
        "val_loss": 0.85,  # the lowest among completed ones: trial 1
        BEST: 0.85,
    }, "val_clid is not known, so it picks nothing"
    assert (picks.method, picks.studies, picks.used) == ("a", 2, "noisy_val_accuracy")


def test_the_table_marks_the_rule_that_was_used_and_oracles(tmp_path: Path):
    table = rule_picks_table(made(tmp_path / "digits"))
    assert table.head[:3] == ["method", "studies", "noisy_val_accuracy"] and "clean_val_accuracy (oracle)" in table.head
    assert [cell.text for cell in table.rows[0] if cell.bold] == ["0.7500"]


def test_a_mark_is_drawn_for_every_rule(tmp_path: Path):
    figure = draw_rule_picks(made(tmp_path / "digits"))
    places = sorted(round(float(line.get_xdata()[0]), 9) for line in figure.axes[0].lines)
    assert places == [0.75, 0.85, 0.85, 0.85]
    assert draw_rule_picks([]) is None
