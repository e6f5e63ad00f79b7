"""One list of columns in Markdown, on the terminal and in HTML."""

from __future__ import annotations

import io

from rich.console import Console

from platform.report.table import Column, Table

TABLE = Table(
    [
        Column[tuple[str, float]]("name", lambda pair: pair[0], code=True, style=lambda pair: "green"),
        Column[tuple[str, float]]("<value>", lambda pair: f"{pair[1]:.1f}", "right"),
    ],
    [("a|b", 1.0), ("", 22.5)],
)


def test_markdown_escapes_bars_and_marks_code_where_there_is_some():
    assert TABLE.markdown().splitlines() == [
        "| name | &lt;value&gt; |",
        "| --- | ---: |",
        "| `a\\|b` | 1.0 |",
        "|  | 22.5 |",
    ]


def test_the_terminal_aligns_and_colours_cells():
    console = Console(file=io.StringIO(), width=40, record=True, force_terminal=True, color_system="standard")
    console.print(TABLE.terminal())
    assert "\x1b[32ma|b" in console.export_text(styles=True, clear=False)
    assert [line.rstrip() for line in console.export_text().splitlines()] == [
        "name  <value>",
        "a|b       1.0",
        "         22.5",
    ]


def test_html_escapes_every_text():
    assert TABLE.html() == (
        '<table>\n<thead><tr><th>name</th><th class="right">&lt;value&gt;</th></tr></thead>\n<tbody>\n'
        '<tr><td><code>a|b</code></td><td class="right">1.0</td></tr>\n'
        '<tr><td></td><td class="right">22.5</td></tr>\n</tbody>\n</table>'
    )
