"""A table from one list of columns, for Markdown files, the terminal and web pages."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import rich.table
from rich.text import Text

__all__ = ["Column", "Table", "code", "escaped"]

Item = TypeVar("Item")


def escaped(text: str) -> str:
    """Text of the user's (names of files, classes, methods) as Markdown that shows it: no HTML, no code, no link."""
    text = " ".join(text.split("\n")).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*])", r"\\\1", text)
    return re.sub(r"\[([^\[\]]*)\](?=[(\[:])", r"\[\1\]", text)  # an interval's brackets make no link


def code(text: str) -> str:
    """The same as a code span, its fence longer than any run of backticks inside."""
    text = " ".join(text.split("\n"))
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column of a table of Items: its name, the text of its cells, how they are aligned.

    code: cells are set as code where they are not empty. style: of a cell on the terminal, in Rich's words.
    """

    name: str
    cell: Callable[[Item], str]
    align: Literal["left", "right"] = "left"
    code: bool = False
    style: Callable[[Item], str] = lambda item: ""


@dataclass(frozen=True)
class Table(Generic[Item]):
    """Items, one a line, under a list of columns."""

    columns: Sequence[Column[Item]]
    items: Sequence[Item]

    def markdown(self) -> str:
        """Without a newline at the end; every text is escaped."""
        lines = [[escaped(column.name) for column in self.columns]]
        lines.append(["---:" if column.align == "right" else "---" for column in self.columns])
        lines += [[_markdown(column, item) for column in self.columns] for item in self.items]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def terminal(self) -> rich.table.Table:
        """The table for a console of Rich: no lines, two spaces between columns."""
        table = rich.table.Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in self.columns:
            table.add_column(column.name, justify=column.align)
        for item in self.items:
            table.add_row(*(Text(column.cell(item), style=column.style(item)) for column in self.columns))
        return table

    def html(self) -> str:
        """A table element; every text is escaped."""
        head = "".join(f"<th{_html_class(column)}>{html.escape(column.name)}</th>" for column in self.columns)
        lines = ("".join(_html(column, item) for column in self.columns) for item in self.items)
        body = "\n".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _markdown(column: Column[Item], item: Item) -> str:
    cell = column.cell(item)
    return code(cell) if column.code and cell else escaped(cell)


def _html(column: Column[Item], item: Item) -> str:
    cell = html.escape(column.cell(item))
    return f"<td{_html_class(column)}>{f'<code>{cell}</code>' if column.code and cell else cell}</td>"


def _html_class(column: Column[Item]) -> str:
    return ' class="right"' if column.align == "right" else ""
