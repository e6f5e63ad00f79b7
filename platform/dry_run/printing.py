"""Tables and text of the plan. rich is imported only when something is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


def make_table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def make_text(line: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(line, style=style)
