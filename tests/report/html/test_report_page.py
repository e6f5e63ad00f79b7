"""report.html is written for every kind of table, stays small, and never costs a sweep its other files."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

import platform.report.html.report_page as report_page
from platform.report.html.report_page import report_html, write_report
from platform.report.judge.comparison import of_sweep, open_comparison
from platform.report.judge.judgement import judge
from platform.report.results_folder import ResultsListener
from tests.report.fake_sweep import FakeSweep
from tests.report.html.made_page import made_rows
from tests.report.judge.made_sweep import made_sweep

MOST_BYTES = 2_000_000


def sections(page: str) -> list[str]:
    return re.findall(r'<section id="(\w+)"', page)


def of(sweep: FakeSweep, rows: list) -> str:
    return report_html(judge(of_sweep(sweep.info, rows)))


def test_a_sweep_ends_with_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sweep = FakeSweep(tmp_path / "digits", trials=3)
    sweep.run(ResultsListener(sweep.folder))
    assert not (sweep.folder / "report.html").exists(), "KURABE_REPORT=off, as the tests have it"
    monkeypatch.delenv("KURABE_REPORT")
    sweep.run(ResultsListener(sweep.folder))
    assert "<h1>digits</h1>" in (sweep.folder / "report.html").read_text()


def test_a_report_that_cannot_be_drawn_costs_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fails(*arguments: object) -> str:
        raise RuntimeError("no ink")

    monkeypatch.delenv("KURABE_REPORT")
    monkeypatch.setattr(report_page, "report_html", fails)
    sweep = FakeSweep(tmp_path / "digits", trials=3)
    sweep.folder.mkdir()
    (sweep.folder / "report.html").write_text("of the run before")
    with caplog.at_level(logging.WARNING):
        sweep.run(ResultsListener(sweep.folder))
    assert [record.getMessage() for record in caplog.records] == [
        "report.html could not be written, everything else was: RuntimeError: no ink"
    ]
    assert (sweep.folder / "leaderboard.md").exists() and (sweep.folder / "trials.csv").exists()
    assert not (sweep.folder / "report.html").exists(), "an old report would be taken for this sweep's"


def test_one_seed_says_what_cannot_be_said(tmp_path: Path):
    page = report_html(judge(open_comparison([made_sweep(tmp_path / "a", {"a": [0.8], "b": [0.9]}, trials=1)])))
    assert "One study on one seed: how much of a difference is chance cannot be said" in page
    assert "hyper" not in sections(page) or "what mattered is said from 20 on" in page


def test_all_trials_diverged(tmp_path: Path):
    page = report_html(judge(open_comparison([made_sweep(tmp_path / "a", {"a": [None], "b": [None]})])))
    assert sections(page) == ["found", "leaderboard", "trials", "commands"]
    assert "No method has a result" in page and "no completed trial: 3 diverged" in page
    assert "<figure" not in page and 'class="marks"' not in page
    for words in ("no score against budget", "No two methods have a score", "Layer by layer: nothing was recorded"):
        assert words in page


def test_an_unfinished_sweep_is_called_that(tmp_path: Path):
    sweep = FakeSweep(tmp_path / "digits", methods=["a", "b"], trials=3)
    rows = sweep.run()
    rows[1].outcome, rows[2].outcome, rows[1].score = "preempted", None, None
    page = of(sweep, rows)
    assert "a: 2 trials are unfinished" in page and "<td>running</td>" in page and "<td>preempted</td>" in page


def test_no_trials_at_all(tmp_path: Path):
    page = of(FakeSweep(tmp_path / "digits", methods=["a", "b"]), [])
    assert sections(page) == ["found", "leaderboard", "commands"] and "No method has a result" in page


def test_scores_of_other_tools_alone(tmp_path: Path):
    (tmp_path / "usb.csv").write_text("method,study,seed,score,cost\nx\x1b[0m</script>,0,0,0.8,100\ny,0,0,0.82,\n")
    page = report_html(judge(open_comparison([tmp_path / "usb.csv"])))
    assert sections(page) == ["found", "leaderboard", "differences", "budget", "commands"]
    assert page.count("</script>") == 1 and "&lt;/script&gt;" in page and "\x1b" not in page


def test_the_same_results_give_the_same_page(tmp_path: Path):
    folder = made_sweep(tmp_path / "a", {"a": [0.8, 0.81], "b": [0.9, 0.92]})
    first = write_report(judge(open_comparison([folder])), tmp_path / "1").read_text()
    assert first == write_report(judge(open_comparison([folder])), tmp_path / "2").read_text()


@pytest.mark.slow
def test_five_hundred_trials_stay_small(tmp_path: Path):
    """Long curves become an image, styles are written once: the size grows by less than 2 kB a trial."""
    sweep = FakeSweep(
        tmp_path / "digits", methods=["a", "b"], studies=5, trials=50, evaluations=50, outcomes=("completed",)
    )
    rows = made_rows(sweep)
    assert len(rows) == 500
    page = of(sweep, rows)
    assert 200_000 < len(page.encode()) < MOST_BYTES / 2 and "data:image/png;base64" in page
    assert page.count("<tr data-t=") == 500


@pytest.mark.slow
def test_of_very_many_methods_the_best_have_figures_of_their_own(tmp_path: Path):
    sweep = FakeSweep(tmp_path / "digits", methods=[f"m{i}" for i in range(9)], trials=2, outcomes=("completed",))
    page = of(sweep, sweep.run())
    assert page.count("<summary>Parallel coordinates: ") == 8 and "the 8 best methods; left out here: 1" in page
    assert len(page.encode()) < MOST_BYTES


def test_accuracy_against_doubtful_labels_is_called_that_everywhere(tmp_path: Path):
    folder, methods = tmp_path / "digits", ["a", "b"]
    sweep = FakeSweep(folder, methods=methods, trials=3, outcomes=("completed",), test_labels="as given")
    rows = made_rows(sweep)
    info = sweep.info
    info.provenance["data_notes"] = ["the true labels are unknown"]
    page = report_html(judge(of_sweep(info, rows)))
    shown = re.sub(r"<pre.*?</pre>", "", page, flags=re.S).replace("No true labels are known", "")
    assert "accuracy against doubtful labels" in shown
    assert re.findall(r"[^<>]*test accuracy(?! \(labels as given\))[^<>]*", shown, re.I) == []
