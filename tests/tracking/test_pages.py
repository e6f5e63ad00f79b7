"""MLflow's pages in a fresh browser: the numbers that a newcomer sees without a click equal the leaderboard's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from platform.core.colours import method_colours
from platform.core.row import Row, winner
from platform.report.judge.sweep_headlines import headlines
from platform.report.leaderboard import leaderboard
from platform.tracking.mlflow_writer import MlflowListener
from tests.report.fake_sweep import FakeSweep

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


@dataclass
class Seen:
    """A finished sweep, its leaderboard, and a fresh browser's page. link: what the command printed."""

    sweep: FakeSweep
    rows: list[Row]
    link: str
    page: Any

    @property
    def experiment(self) -> str:
        return self.link.partition("/runs?")[0]

    def open(self, view: str, charts: bool = False) -> None:
        mode = "&compareRunsMode=CHART" if charts else ""
        self.page.goto(f"{self.experiment}/runs?viewStateShareKey={view}{mode}&workflowType=machine_learning")
        self.page.wait_for_selector(".ag-center-cols-container .ag-row, .js-plotly-plot" if not charts else ".ag-row")

    def table(self) -> dict[str, dict[str, str]]:
        """The cells of the table by the name of the run (of a group: its name and `Group: `), and by column."""
        found: dict[str, dict[str, str]] = {}
        script = """cells => cells.map(cell =>
            [cell.closest('.ag-row').getAttribute('row-id'), cell.getAttribute('col-id'), cell.innerText])"""
        by_row: dict[str, dict[str, str]] = {}
        for row, column, text in self.page.eval_on_selector_all(".ag-row .ag-cell", script):
            by_row.setdefault(row, {})[column.replace("`", "")] = text.strip()
        for cells in by_row.values():
            name = cells.get("attributes.Run Name", "").splitlines()
            found[next((line for line in name if line and not line.startswith("#")), "")] = cells
        return found

    def leaderboard(self) -> dict[str, tuple[str, str]]:
        """Score and test accuracy of each method, as leaderboard.md has them."""
        text = (self.sweep.folder / "leaderboard.md").read_text().partition("## Methods")[2].partition("## ")[0]
        return dict((m, (s, t)) for m, s, t in re.findall(r"^\| (\w+) \| (\d\.\d+)[^|]* \| (\d\.\d+)", text, re.M))


@pytest.fixture(scope="module")
def finished(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeSweep, list[Row], Path]:
    folder = tmp_path_factory.mktemp("pages")
    database = folder / "mlflow.db"
    shutil.copy(empty_database, database)
    sweep = FakeSweep(
        folder / "bench", ["supervised", "fixmatch", "layermatch"], studies=3, trials=3, steps=60, evaluations=4
    )
    tracker = MlflowListener(f"sqlite:///{database}", sweep.folder, judge=headlines)
    tracker._version = "3.17"
    rows = sweep.run(tracker)
    sweep.folder.mkdir()
    (sweep.folder / "leaderboard.md").write_text(leaderboard(sweep.info, rows))
    return sweep, rows, database


@pytest.fixture(scope="module")
def link(finished: tuple[FakeSweep, list[Row], Path]) -> Iterator[str]:
    """What `make ui` prints: the address of the sweep's methods."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "platform.ui", "--tracking", f"sqlite:///{finished[2]}", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--no-open"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        assert said[0].startswith(f"MLflow is at http://127.0.0.1:{port}"), said
        yield said[1].split()[1]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(20) == 0
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def seen(finished: tuple[FakeSweep, list[Row], Path], link: str) -> Iterator[Seen]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(90_000)
        yield Seen(finished[0], finished[1], link, page)
        browser.close()


def test_a_fresh_browser_sees_every_methods_numbers_without_a_click(seen: Seen) -> None:
    seen.page.goto(seen.link)
    seen.page.wait_for_selector(".ag-center-cols-container .ag-row")
    seen.page.wait_for_selector("text=Model registry")  # of MLflow's mode for model training
    assert seen.page.get_by_test_id("saved-views-trigger").inner_text() == "Methods"
    headers = ".ag-header-cell[col-id='{}']"
    area = seen.page.locator(".ag-root").bounding_box()
    for name in ("params.`method`", "params.`study`", "metrics.`test_accuracy`", "metrics.`score`",
                 "metrics.`difference`", "metrics.`cost`"):  # fmt: skip
        box = seen.page.locator(headers.format(name)).bounding_box()
        assert box["x"] >= area["x"] and box["x"] + box["width"] <= area["x"] + area["width"] + 1, name
    found, info = seen.table(), seen.sweep.info
    assert set(found) == set(info.studies)
    expected = headlines(info, seen.rows).by_study
    for study, cells in found.items():
        won = winner([row for row in seen.rows if row.study == study], info.maximise)
        assert won is not None
        assert cells["params.method"] == won.method and cells["params.study"] == study[-1]
        assert float(cells["metrics.score"]) == round(won.score or 0, 4)  # with the leaderboard's digits
        assert float(cells["metrics.test_accuracy"]) == round(won.test_accuracy or 0, 4)
        for name in ("difference", "cost"):
            assert float(cells[f"metrics.{name}"]) == pytest.approx(expected[study][name], abs=1e-9)
    for method, told in seen.leaderboard().items():
        mine = [cells for study, cells in found.items() if study.startswith(f"{method}/")]
        means = [sum(float(c[f"metrics.{name}"]) for c in mine) / len(mine) for name in ("score", "test_accuracy")]
        assert tuple(f"{mean:.4f}" for mean in means) == told


def test_group_by_method_shows_the_leaderboards_means(seen: Seen) -> None:
    seen.open("methods")
    seen.page.get_by_role("button", name="Group by").click()
    seen.page.get_by_role("menuitemcheckbox", name="method", exact=True).click()
    seen.page.keyboard.press("Escape")
    seen.page.wait_for_selector("[row-id='param.method.supervised']")
    found = seen.table()
    assert set(seen.leaderboard()) == set(seen.sweep.methods)
    for method, (score, test) in seen.leaderboard().items():
        cells = found[f"Group: {method}"]
        assert f"{float(cells['metrics.score'].split()[0]):.4f}" == score
        assert f"{float(cells['metrics.test_accuracy'].split()[0]):.4f}" == test


def test_charts_begin_with_a_bar_per_study_in_its_methods_colour_and_the_winners_curves(seen: Seen) -> None:
    seen.open("methods", charts=True)
    seen.page.wait_for_function("document.querySelectorAll('.js-plotly-plot .bars path').length >= 9")
    headings = seen.page.locator("text=/Which method is better|By how much/").all_inner_texts()
    assert headings[0].startswith("Which method is better")
    bars, curves = seen.page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].slice(0, 2).map(plot => plot.data.map(trace => ({
            kind: trace.type, x: [...trace.x], names: [...(trace.y || [])], name: trace.name,
            colour: trace.marker && trace.marker.color, line: trace.line && trace.line.color})))"""
    )
    colours = {name: colour.lower() for name, colour in method_colours(seen.sweep.methods).items()}
    winners = [winner([row for row in seen.rows if row.study == study], True) for study in seen.sweep.info.studies]
    assert {trace["kind"] for trace in bars} == {"bar"}
    drawn = {}
    for trace in bars:
        shades = trace["colour"] if isinstance(trace["colour"], list) else [trace["colour"]] * len(trace["x"])
        names = trace["names"] if len(trace["x"]) > 1 else [trace["name"]]
        drawn |= {name: (x, str(shade).lower()) for name, x, shade in zip(names, trace["x"], shades, strict=True)}
    expected = {(round(row.test_accuracy or 0, 4), colours[row.method]) for row in winners if row is not None}
    assert len(drawn) == 9 and set(drawn.values()) == expected
    learnt = {(*trace["x"], *trace["names"]) for trace in curves if len(trace["x"]) > 1}
    curve = "test_accuracy"
    assert learnt == {
        (*(r["step"] for r in row.reports), *(r[curve] for r in row.reports)) for row in winners if row is not None
    }


def test_the_view_of_trials_has_no_score_of_one_that_was_stopped(seen: Seen) -> None:
    seen.open("trials")
    found = seen.table()
    shown = {f"{row.study} trial {row.number}": row for row in seen.rows}
    assert set(found) <= set(shown) and len(found) >= 9
    for name, cells in found.items():
        text = cells.get("metrics.score", "")
        if shown[name].outcome == "completed":
            assert float(text) == pytest.approx(shown[name].score, abs=1e-12)
        else:
            assert text in ("", "-"), name
    assert "pruned" in {shown[name].outcome for name in found}


def test_the_experiments_note_says_what_was_found(seen: Seen) -> None:
    seen.open("methods")
    note = seen.page.locator("text=/best mean|beats|No sure difference/").first.inner_text()
    assert any(method in note for method in seen.sweep.methods)
