"""The parts that a section of the report is put together from; report.html.j2 renders each by its `kind`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from platform.report.judge.score_tables import TextTable

__all__ = ["CodeBlock", "Fold", "InlineDrawing", "Listing", "Paragraph", "Part", "ReportSection", "SortedTable"]


@dataclass(frozen=True)
class Paragraph:
    text: str
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Listing:
    """Sentences, one below the other."""

    lines: Sequence[str]
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class CodeBlock:
    """Text to copy: a command or a file. label: what it does."""

    label: str
    text: str
    kind: ClassVar[str] = "code"


@dataclass(frozen=True)
class InlineDrawing:
    """A figure and in words what it shows. name: of its element in the page."""

    name: str
    svg: Markup
    words: str
    kind: ClassVar[str] = "drawing"


@dataclass(frozen=True)
class SortedTable:
    """A table that the script makes sortable, and filterable where it is long.

    marks: a drawing in each row, after the column `marks_after`; axis: the head of their column. colours: of the dot
    before a row's first cell. trials: the place of each row's trial.
    """

    table: TextTable
    marks: Sequence[Markup] = ()
    marks_after: int = 0
    colours: Sequence[str] = ()
    trials: Sequence[int] = ()
    axis: Markup = Markup("")
    name: str = ""
    kind: ClassVar[str] = "table"

    @property
    def long(self) -> bool:
        return len(self.table.rows) > 8


@dataclass(frozen=True)
class Fold:
    """Parts that are opened by a click. printed: they are, opened or not, where the page is printed."""

    summary: str
    parts: Sequence[Part]
    is_open: bool = False
    printed: bool = True
    kind: ClassVar[str] = "fold"


Part = Paragraph | Listing | CodeBlock | InlineDrawing | SortedTable | Fold


@dataclass
class ReportSection:
    """missing: the line that stands in its place where it has no parts; empty = nobody would miss it.

    short: its name in the list of sections.
    """

    name: str
    title: str
    parts: list[Part] = field(default_factory=list)
    missing: str = ""
    short: str = ""
