"""Counts of test predictions beside the table: written when a trial completes, kept for winners, added over studies."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from platform.core.events import SweepEnded, SweepStarted, TrialEnded
from platform.report.layer_figures import winners_of
from platform.report.prediction_files import read_predictions
from platform.report.results_folder import ResultsListener
from tests.report.fake_sweep import FakeSweep

COUNTS = {"classes": ["a", "b"], "confusion": [[0, 0, 3], [1, 0, 2]], "bins": [[5, 3, 4.0]]}


def test_winners_keep_their_predictions_and_studies_are_added(tmp_path: Path):
    sweep = FakeSweep(tmp_path / "digits", studies=2, trials=4)
    rows = sweep.run()
    listener = ResultsListener(sweep.folder)
    listener.handle(SweepStarted(sweep.info))
    for row in rows:
        row.predictions = COUNTS if row.outcome == "completed" else None
        listener.handle(TrialEnded(row))
    folder = sweep.folder / "predictions"
    assert {path.stem for path in folder.iterdir()} == {row.key for row in rows if row.outcome == "completed"}
    listener.handle(SweepEnded(rows))
    won = winners_of(sweep.info, rows, "layermatch")
    assert {path.stem for path in folder.iterdir()} == {row.key for row in won} and len(won) == 2
    found = read_predictions(sweep.folder, won)
    assert np.array_equal(found.confusion, [[6, 0], [4, 0]]) and found.bins.tolist() == [[10, 6, 8.0]]
    (folder / f"{won[0].key}.json").write_text('{"classes": ["a"], "confusion": [[3, 3, 1]], "bins": []}')
    assert read_predictions(sweep.folder, won) is None, "half of the studies would pass for all"
