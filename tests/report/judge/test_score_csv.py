"""Plain CSV files: written and read back to the bit, beside a sweep, and refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from platform.core.errors import UserError
from platform.report.judge.compared_method import to_scores
from platform.report.judge.comparison import open_comparison
from platform.report.judge.judgement import judge
from platform.report.judge.score_csv import ScoreLine, read_scores, write_scores
from tests.report.judge.ends import ends
from tests.report.judge.made_sweep import made_sweep

A = {"supervised": [0.80, 0.82, 0.81], "fixmatch": [0.90, 0.1 + 0.2, 0.92], "mixup": [None, None, None]}


def refused(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_scores(path)
    return str(error.value)


def test_a_sweep_that_is_exported_is_judged_the_same(tmp_path: Path):
    sweep = judge(open_comparison([made_sweep(tmp_path / "a", A)]))
    write_scores(tmp_path / "a.csv", to_scores(sweep.comparison.methods))
    other = judge(open_comparison([tmp_path / "a.csv"]))
    assert [(p.method.name, p.mean, p.median, p.quartiles, p.leading) for p in other.places] == [
        (p.method.name, p.mean, p.median, p.quartiles, p.leading) for p in sweep.places
    ]
    assert other.differences == sweep.differences
    assert [m.searched for m in other.comparison.methods] == [m.searched for m in sweep.comparison.methods]
    assert all(m.outside for m in other.comparison.methods)
    write_scores(tmp_path / "b.csv", to_scores(other.comparison.methods))
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_repeats_come_back_as_repeats(tmp_path: Path):
    again = {"supervised": [[0.7, 0.9], [0.8, 0.8]], "fixmatch": [[0.85, 0.95], [0.9, 0.94]]}
    methods = {name: A[name][:2] for name in ("supervised", "fixmatch")}
    sweep = judge(open_comparison([made_sweep(tmp_path / "a", methods, repeats=again)]))
    write_scores(tmp_path / "a.csv", to_scores(sweep.comparison.methods))
    other = judge(open_comparison([tmp_path / "a.csv"]))
    assert [p.mean for p in other.places] == [p.mean for p in sweep.places]
    assert other.differences == sweep.differences


def test_names_with_commas_quotes_and_breaks_survive(tmp_path: Path):
    lines = [ScoreLine('a, "b"', "digits/0", "7", 0.1 + 0.2, None), ScoreLine("<b>ü</b>\n2", "0", "0", None, 3.5)]
    write_scores(tmp_path / "a.csv", lines)
    assert read_scores(tmp_path / "a.csv") == lines


def test_other_tools_stand_beside_a_sweep_and_are_paired_by_study(tmp_path: Path):
    sweep = made_sweep(tmp_path / "a", {"fixmatch": [0.90, 0.93, 0.92]})
    (tmp_path / "theirs.csv").write_text(
        "method,study,seed,score,cost\nusb,0,17,0.8,\nusb,1,18,0.82,\nusb,2,19,0.83,\n"
    )
    judged = judge(open_comparison([sweep, tmp_path / "theirs.csv"]))
    assert [(p.method.name, p.method.outside) for p in judged.places] == [("fixmatch", False), ("usb", True)]
    assert judged.differences[0].estimate.n == 3 and judged.differences[0].sure


def test_scores_that_are_no_accuracies_have_plain_intervals(tmp_path: Path):
    (tmp_path / "a.csv").write_text("method,study,seed,score\nx,0,0,92.5\nx,1,0,93.5\nx,2,0,97\n")
    judged = judge(open_comparison([tmp_path / "a.csv"]))
    assert not judged.comparison.metric.accuracy and ends(judged.places[0].mean)[1] > 100


def test_files_that_are_wrong_are_refused_with_their_lines(tmp_path: Path):
    path = tmp_path / "a.csv"
    assert "no column seed, score" in refused(path, "method,study\nx,1\n")
    words = refused(path, "method,study,seed,score\nx,0,0,good\nx,1,0,nan\n,2,0,0.5\n")
    assert "a.csv:2: score: 'good' is not a number" in words and "a.csv:3" in words and "a.csv:4: no method" in words
    assert "occur twice: x, 0, 0" in refused(path, "method,study,seed,score\nx,0,0,0.5\nx,0,0,0.6\n")
    assert "no scores in it" in refused(path, "method,study,seed,score\n")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        read_scores(path)
