"""Names are text: no HTML or Markdown in the leaderboard, no formula in a spreadsheet."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from platform.report import load, pareto, trial_tables
from platform.report.leaderboard import code, escaped, leaderboard
from tests.report.fake_sweep import FakeSweep

ODD = "<img src=x>`a`|[b](c)\n&"


def test_a_leaderboard_shows_names_as_they_are(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path)
    info, rows = sweep.info, sweep.rows()
    name = info.methods[0]
    info.methods[0], info.studies = ODD, [study.replace(name, ODD) for study in info.studies]
    info.provenance["data_notes"] = ["2 files are no images, for instance <b>`x`</b>.txt"]
    info.command = "python -m platform.sweep '`<i>`.yaml'"
    for row in rows:
        if row.method == name:
            row.method, row.study = ODD, row.study.replace(name, ODD)
            row.params["mode"] = "`<i>`"
            row.outcome, row.score, row.test_accuracy = "completed", 0.5, 0.5
    board = leaderboard(info, rows)
    assert "<img" not in board and "<b>" not in board and "&lt;b&gt;\\`x\\`&lt;/b&gt;.txt" in board
    assert "&lt;img src=x&gt;\\`a\\`\\|\\[b\\](c) &amp;" in board
    assert "`` python -m platform.sweep '`<i>`.yaml' ``" in board and " mode=`<i>` `` |" in board


def test_escaped_and_code() -> None:
    assert escaped("a_b 1.5 x/0") == "a_b 1.5 x/0" and code("a=1") == "`a=1`"
    assert code("a`` b") == "``` a`` b ```"


CELLS = ["=HYPERLINK(1)", "+a", "-a", "@a", "\ta", "'=a", "''=a", "'a", "a", "", "-1.5", "+3", "1e-3", "'-1"]


@pytest.mark.parametrize("text", CELLS)
def test_text_that_is_no_formula_and_comes_back(text: str) -> None:
    cell = trial_tables.to_cell(text)
    assert trial_tables.from_cell(cell) == text
    assert not cell.startswith(("=", "+", "-", "@", "\t")) or float(cell)  # a number stays one


def test_numbers_stay_numbers() -> None:
    assert [trial_tables.to_cell(value) for value in (-1.5, 3, None, True)] == [-1.5, 3, None, True]


def test_the_tables_of_a_sweep(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path)
    info, row = sweep.info, sweep.rows()[0]
    row.method, row.study = "=HYPERLINK(1)", "=HYPERLINK(1)/0"
    row.params = {"mode": "@sum", "low": "-1", "rate": -2.5}
    records = [trial_tables.trial_record(row)]
    trial_tables.write_trials(tmp_path / "trials.csv", records)
    (raw,) = csv.DictReader((tmp_path / "trials.csv").open())
    assert raw["method"] == "'=HYPERLINK(1)" and raw["hp.mode"] == "'@sum" and raw["hp.rate"] == "-2.5"
    assert trial_tables.read_trials(tmp_path / "trials.csv")[0]["study"] == "=HYPERLINK(1)/0"
    table = load(tmp_path).trials
    assert table.method[0] == "=HYPERLINK(1)" and table["hp.mode"][0] == "@sum" and table["hp.rate"][0] == -2.5
    info.studies[0] = row.study
    row.outcome, row.score, row.repeat = "completed", 0.5, 0
    pareto.write(info, [row], tmp_path / "pareto.csv")
    assert (tmp_path / "pareto.csv").read_text().splitlines()[1].startswith("'=HYPERLINK(1)/0,")
