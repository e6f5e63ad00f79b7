"""Device-seconds and repeats through the door: real trials, two at a time, in a table that adds up."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

import platform.report
from platform.core.ledger import read_rows
from tests.runner.door import sweep

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

SPACE = """
name: small
methods: [supervised, pseudo_label]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 30, evaluations: 5, batch_size: 8}
search: {train.lr: {log_uniform: [1e-3, 0.3]}}
budget: {seconds: 2, studies: 2, repeats: 2}
resources: {concurrent: 2}
tracking: none
"""


def run(folder: Path, *words: str) -> str:
    (folder / "small.yaml").write_text(SPACE)
    done = sweep(folder / "small.yaml", "--results", folder, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_seconds_are_spent_alike_then_winners_are_repeated(tmp_path: Path) -> None:
    screen = run(tmp_path)
    folder = tmp_path / "small"
    _, rows = read_rows(folder / "ledger.jsonl")
    studies = {study: list(group) for study, group in groupby(sorted(rows.values(), key=_study), _study)}
    assert len(studies) == 4
    for study, mine in studies.items():
        searched = [row for row in mine if not row.repeat]
        spent = sum(row.spent for row in searched)
        intervals = [np.diff([0.0, *(r["seconds"] for r in row.reports)]).max() for row in searched]
        assert 2 <= spent < 2 + 2 * max(intervals) + searched[0].spent * (len(searched) == 1), study
        again = [row for row in mine if row.repeat]
        assert [(row.repeat, row.seed) for row in again] == [(r, int(study[-1]) + 10_000 * r) for r in (1, 2)]
        assert {row.outcome for row in again} == {"completed"}
        assert {row.spec.seeds["data"] for row in mine} == {searched[0].spec.seeds["data"]}
    for index in "01":  # the same label plans and seeds for both methods
        plans = [[row.spec.labels_hash for row in studies[f"{m}/{index}"]] for m in ("supervised", "pseudo_label")]
        assert set(plans[0]) == set(plans[1]) and len(set(plans[0])) == 3
    names = {path.name for path in (folder / "labels").iterdir()}
    assert names == {f"study-{i}{r}.npz" for i in "01" for r in ("", "-repeat-1", "-repeat-2")}
    table = platform.report.load(folder).trials
    assert table.seconds.sum() == pytest.approx(sum(row.spent for row in rows.values()), abs=0.01 * len(table))
    assert (table.repeat > 0).sum() == 8
    board = (folder / "leaderboard.md").read_text()
    assert "compared on repeats" in board and "| 4 of 4 | 2 of 2 |" in board and " of 4 |" in board
    assert "device-seconds spent" in screen and "seconds spent" in screen and "4 of 4" in screen

    before = (folder / "ledger.jsonl").read_text()
    run(tmp_path)  # nothing is left to run
    assert (folder / "ledger.jsonl").read_text() == before
    run(tmp_path, "budget.seconds=3")  # a larger grant goes on in the same folder
    _, more = read_rows(folder / "ledger.jsonl")
    assert set(rows) < set(more)
    for study in studies:
        mine = [row for row in more.values() if row.study == study and not row.repeat]
        assert sum(row.spent for row in mine) >= 3
    assert json.loads((folder / "provenance.json").read_text())["command"].endswith(f"--results {tmp_path}")


def _study(row) -> str:
    return row.study
