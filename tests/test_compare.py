"""python -m platform.compare: from folders to a verdict, tables and figures, or to what is wrong, in words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import platform.report.html.report_page as report_page
import platform.report.judge.comparison_figures as comparison_figures
from platform import compare
from tests.report.judge.made_sweep import made_sweep

A = {"supervised": [0.80, 0.82, 0.81], "fixmatch": [0.90, 0.93, 0.92], "mixup": [None, None, None]}
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    if "drawn" not in request.node.name:  # figures take a second or two, and have tests of their own
        monkeypatch.setattr(comparison_figures, "drawings", lambda judged: [])
        monkeypatch.setattr(report_page, "report_html", lambda judged, drawn: "")


def compared(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert compare.main([str(word) for word in words]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert compare.main([str(word) for word in words]) == 2
    found = capsys.readouterr()
    assert found.out == "" and found.err.endswith("nothing was compared.\n")
    return found.err


def test_the_verdict_comes_first_then_the_leaderboard_then_where_files_lie(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = made_sweep(tmp_path / "a", A)
    shown = compared(capsys, folder)
    flat = " ".join(shown.split())
    assert flat.startswith("fixmatch beats supervised by 0.107 [0.092, 0.121] (3 studies, Holm p < 0.001).") or (
        flat.startswith("fixmatch beats supervised by 0.107 [0.092, 0.121] (3 studies, Holm p = 0.001).")
    )
    assert "mixup has no result: no completed trial: 9 diverged." in flat
    order = [flat.index(words) for words in ("beats", "test accuracy median IQM", "training used 40", "leaderboard.md")]
    assert order == sorted(order)
    for name in re.findall(r"^\w+ +(/\S+)$", shown, re.M):
        assert Path(name).exists()
    assert (folder / "comparison" / "leaderboard.tex").exists()


def test_figures_are_drawn_and_nothing_else_reaches_the_screen(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = made_sweep(tmp_path / "a", A, trials=8)  # enough for importance
    shown = compared(capsys, folder)
    assert re.search(rf"^figures +{folder}/comparison/figures$", shown, re.M)
    assert re.search(rf"^report +{folder}/comparison/report.html$", shown, re.M)
    assert (folder / "comparison" / "report.html").read_text().count("<figure") >= 6
    assert {path.name for path in (folder / "comparison" / "figures").iterdir()} == {
        f"{name}.{kind}"
        for kind in ("svg", "png")
        for name in (
            "intervals",
            "differences",
            "profiles",
            "best_against_budget",
            "score_against_cost",
            "importance",
        )
    }


def test_a_report_that_cannot_be_drawn_costs_no_other_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fails(judged: object, drawn: object) -> str:
        raise RuntimeError("no ink")

    monkeypatch.setattr(report_page, "report_html", fails)
    folder = made_sweep(tmp_path / "a", A)
    assert compare.main([str(folder)]) == 0
    shown = capsys.readouterr()
    assert shown.err == "report.html could not be written: RuntimeError: no ink\n" and "report.html" not in shown.out
    assert (folder / "comparison" / "leaderboard.md").exists()


def test_it_fits_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shown = compared(capsys, made_sweep(tmp_path / "a", A), made_sweep(tmp_path / "b", A))
    lines = [line for line in shown.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80


def test_out_and_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = made_sweep(tmp_path / "a", A)
    compared(capsys, folder, "--out", tmp_path / "there", "--export", tmp_path / "scores.csv")
    assert (tmp_path / "there" / "leaderboard.md").exists() and not (folder / "comparison").exists()
    first = compared(capsys, tmp_path / "scores.csv", "--out", tmp_path / "again")
    assert "fixmatch * 0.917" in " ".join(first.split()) and "not run here" in first


def test_a_csv_beside_a_sweep_is_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "usb.csv").write_text("method,study,seed,score,cost\nusb,0,0,0.8,100\nusb,1,1,0.82,\nusb,2,2,0.83,\n")
    shown = compared(capsys, made_sweep(tmp_path / "a", A), tmp_path / "usb.csv")
    assert "usb *" in shown and "made elsewhere" in " ".join(shown.split())
    assert "usb.csv (not run here)" in (tmp_path / "a" / "comparison" / "leaderboard.md").read_text()


def test_one_seed_says_what_cannot_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shown = " ".join(compared(capsys, made_sweep(tmp_path / "a", {m: v[:1] for m, v in A.items()})).split())
    assert "One study on one seed: how much of a difference is chance cannot be said" in shown


def test_unequal_budgets_are_refused_or_marked_in_every_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    paths = [made_sweep(tmp_path / "a", A), made_sweep(tmp_path / "b", {"elr": [0.9, 0.9, 0.91]}, trials=4)]
    assert "tuning budgets differ" in refused(capsys, *paths)
    assert not (tmp_path / "a" / "comparison").exists()
    shown = compared(capsys, *paths, "--allow-unequal")
    assert "UNEQUAL" in shown
    for name in ("leaderboard.md", "leaderboard.csv", "leaderboard.tex", "pairs.csv", "pairs.tex"):
        assert "UNEQUAL" in (tmp_path / "a" / "comparison" / name).read_text()


def test_bad_input_is_answered_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    words = refused(capsys, tmp_path / "empty", tmp_path / "missing", tmp_path / "missing.csv")
    assert "an empty folder" in words and "no such folder" in words and "cannot be read" in words
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot write there" in refused(capsys, made_sweep(tmp_path / "a", A), "--out", file)


def test_scores_that_are_better_when_low_are_not_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = made_sweep(tmp_path / "a", A, select="val_loss", test=False)
    assert "better when low" in refused(capsys, folder, "--export", tmp_path / "a.csv")
    assert "supervised beats fixmatch" in " ".join(compared(capsys, folder).split())


def test_help_is_quick():
    """It imports no library of numbers."""
    code = (
        "import sys, platform.compare as c; c._parser(); print(*(set(sys.modules) & {'numpy', 'scipy', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
