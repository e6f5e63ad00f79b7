"""report.html in a browser: nothing is asked of the network, numbers are the leaderboard's, names stay text."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platform.report.judge.judgement import Judgement
from platform.report.judge.score_tables import leaderboard_table, pairs_table
from platform.report.judge.verdict import verdict
from tests.report.html.made_page import HOSTILE, METHODS, made_page

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Judgement, Path]:
    return made_page(tmp_path_factory.mktemp("sweep") / "digits")


@pytest.fixture
def shown(browser: Any, made: tuple[Judgement, Path]) -> Iterator[Any]:
    """Opens the page with the settings of a context; afterwards: no word on the console, no request but the file."""
    contexts, said, asked = [], [], []

    def open_page(**settings: Any) -> Any:
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(made[1].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert set(asked) == {made[1].as_uri()}


def cells(page: Any, table: str) -> list[list[str]]:
    """Texts of a table's body, without the cells that hold drawings."""
    script = (
        "rows => rows.map(r => [...r.cells].filter(c => !c.classList.contains('mark')).map(c => c.textContent.trim()))"
    )
    return page.locator(f"#table-{table} tbody tr").evaluate_all(script)


def test_the_headline_is_readable_without_a_script_and_has_the_leaderboard_s_numbers(shown, made):
    page = shown(java_script_enabled=False)
    assert page.locator("#table-leaderboard").is_visible()
    full = leaderboard_table(made[0])
    wanted = [full.head.index(name) for name in ("method", "test accuracy", "studies", "score of winners")]
    board = page.locator("#table-leaderboard tbody tr")
    for line, row in enumerate(full.rows):
        found = [text.strip() for text in board.nth(line).locator("th, td:not(.mark)").all_text_contents()]
        assert found[:4] == [row[place].text for place in wanted]
    first = page.locator("#found li").all_text_contents()
    assert first == verdict(made[0])


def test_pairs_and_all_columns_are_the_tables_of_compare(shown, made):
    page = shown()
    assert cells(page, "pairs") == [[cell.text for cell in row] for row in pairs_table(made[0]).rows]
    assert cells(page, "all-columns") == [[cell.text for cell in row] for row in leaderboard_table(made[0]).rows]


def test_names_with_html_are_text(shown):
    page = shown()
    assert page.locator("h1").text_content() == "<b>digits</b>"
    assert page.locator("img, u, section i:not(.dot), h1 b").count() == 0
    assert HOSTILE in page.locator("#table-leaderboard").text_content()
    labels = page.locator("svg.drawing text").all_text_contents()
    assert any(HOSTILE in label for label in labels) and "a <b>value</b>" in labels and "<i>1</i>" in labels
    assert "<b>one</b>" in labels and "2$" in labels, "classes of the confusion matrices"
    assert "0 taken for <b>one</b> (25% of its images)" in page.locator("#predictions").text_content()
    assert "python -m platform.sweep '<u>x</u>'" in page.locator("pre").first.text_content()


def test_a_table_sorts_by_a_click(shown):
    page = shown()
    page.locator("#trials summary").click()
    head = page.locator("#table-trials thead th", has_text="score")
    column = [text.strip() for text in page.locator("#table-trials thead th").all_text_contents()].index("score")
    for direction in ("descending", "ascending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        texts = [row[column] for row in cells(page, "trials")]
        numbers = [float(text) for text in texts if text]
        assert numbers == sorted(numbers, reverse=direction == "descending") and texts[: len(numbers)] != [""]
        assert not any(texts[len(numbers) :]), "rows without a score come last"


def test_a_table_is_filtered_by_words(shown):
    page = shown()
    page.locator("#trials summary").click()
    page.locator("#filter-table-trials").fill("PRUNED supervised/1")
    rows = page.locator("#table-trials tbody tr:visible")
    texts = rows.all_text_contents()
    assert texts and all("pruned" in text and "supervised/1" in text for text in texts)
    assert page.locator("#trials .filter output").text_content() == f"{len(texts)} of 72"
    page.locator("#filter-table-trials").fill("")
    assert rows.count() == 72


def test_the_trial_under_the_mouse_is_named(shown, made):
    page = shown()
    point = page.locator("#hyper details[open] svg use[data-t]").first
    point.scroll_into_view_if_needed()
    place = point.get_attribute("data-t")
    point.hover(force=True)
    tip = page.locator("#tip").text_content()
    row = [text.strip() for text in page.locator(f"tr[data-t='{place}']").locator("th, td").all_text_contents()]
    assert f"study: {row[0]}" in tip and f"trial: {row[1]}" in tip and f"score: {row[3]}" in tip
    page.mouse.move(0, 0)
    assert page.locator("#tip").is_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screen_reader_finds_its_way(shown, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = shown(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    found = axe.run(page).response["violations"]
    bad = {one["id"]: one["nodes"][0]["html"][:200] for one in found if one["impact"] in ("serious", "critical")}
    assert bad == {}
    levels = [int(name[1]) for name in page.locator("h1, h2, h3").evaluate_all("all => all.map(one => one.localName)")]
    assert levels[0] == 1 and set(levels[1:]) == {2}
    assert page.locator("svg.drawing").count() == page.locator("svg.drawing > title:not(:empty)").count() > 10
    assert page.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0


def test_it_fits_a_phone_and_paper(shown):
    page = shown(viewport={"width": 390, "height": 800}, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 31, 36)", "dark ink on white paper"
    assert not page.locator("nav").is_visible() and not page.locator("#trials details").is_visible()
    assert page.pdf()[:4] == b"%PDF"


def test_every_section_is_there_in_its_order(shown):
    page = shown()
    names = page.locator("main section").evaluate_all("all => all.map(one => one.id)")
    order = "found leaderboard differences curves budget hyper parallel rules layers predictions trials commands"
    assert names == order.split()
    assert page.locator("nav a").evaluate_all("all => all.map(one => one.hash)") == [f"#{name}" for name in names]
    assert len(METHODS) == page.locator("#curves details").count()
