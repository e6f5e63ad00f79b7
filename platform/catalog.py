"""Lists the names that a sweep file can use: methods, sources, models, noise kinds, selection rules.

python -m platform.catalog              the names, one line each
python -m platform.catalog fixmatch     its hyper-parameters or options: default, limits, range, help
python -m platform.catalog my_method.py the same of a plug-in file of any kind
python -m platform.catalog train        the training settings
python -m platform.catalog diagnostics  what the curves' columns diag/NAME mean
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.invocation import program
from platform.core.registry import METHODS, MODELS, NOISE, RULES, SOURCES, finder_of, noise_kinds

if TYPE_CHECKING:
    from pydantic import BaseModel

    from methods.ranges import Range

COMMAND = "python -m platform.catalog"
SETTINGS = ("data", "labels", "train", "budget", "resources", "retry", "watch")
DIAGNOSTICS = "What trials find out about themselves: the columns diag/NAME."
WRITTEN_NOISE = {
    "none": "Labels as they are.",
    "column:NAME": "The labels of a column of the data: real mistakes.",
}
"""Kinds of noise that are no plug-ins."""


@dataclass(frozen=True)
class Line:
    """One thing that can be named, and where: `methods:`, `data: {source: }`, ..."""

    section: str
    name: str
    summary: str


@dataclass(frozen=True)
class Page:
    """One name in full."""

    title: str
    text: str
    rows: list[tuple[str, ...]]
    columns: tuple[str, ...] = ("key", "default", "allowed", "auto searches", "help")


@dataclass(frozen=True)
class Section:
    """The names that one place of a sweep file can use.

    names: what is listed. kind: of the plug-ins that are named there (core/registry.py). has: whether `page` knows a
    name, which may be more than is listed.
    """

    title: str
    names: Callable[[], Iterable[str]]
    summary: Callable[[str], str]
    page: Callable[[str], Page]
    kind: str = ""
    has: Callable[[str], bool] | None = None

    def holds(self, name: str) -> bool:
        return name in self.names() if self.has is None else self.has(name)


def sections() -> list[Section]:
    """Every kind of thing that has a name, in the order of the listing."""
    return [
        Section("methods", METHODS.names, _summary_of(METHODS.get), _method_page, METHODS.what),
        Section("data.source", SOURCES.names, _summary_of(SOURCES.get), _source_page, SOURCES.what),
        Section("labels.noise", noise_kinds, _noise_summary, _noise_page, NOISE.what),
        Section("model", _models, _model_summary, _model_page, MODELS.what, _is_model),
        Section("select", RULES.names, _rule_summary, _rule_page, RULES.what),
        Section("curves", lambda: ["diagnostics"], lambda _: DIAGNOSTICS, _diagnostics_page),
        Section("settings", lambda: SETTINGS, lambda name: _first_line(_settings(name).__doc__), _settings_page),
    ]


def listing() -> list[Line]:
    """Everything, by section. A plug-in that does not load is listed with the reason."""
    return [Line(section.title, name, section.summary(name)) for section in sections() for name in section.names()]


def page(name: str) -> Page:
    """The page of a name. Raises UserError where there is none, or where it does not load."""
    known = sections()
    try:
        kind = finder_of(Path(name)).what if name.endswith(".py") else ""
        for section in known:
            if section.kind == kind if kind else section.holds(name):
                return section.page(name)
    except ImportError as error:
        reason, trace = getattr(error, "reason", str(error)), getattr(error, "trace", "")
        raise UserError(Problem(reason, where=name, hint=trace)) from error
    valid = dict.fromkeys(name for section in known for name in section.names())
    raise UserError(Problem(f"nothing is called '{name}'", hint=did_you_mean(name, list(valid), COMMAND)))


def _summary_of(load: Callable[[str], Any]) -> Callable[[str], str]:
    """The first line of a plug-in's docstring, or why it does not load."""

    def summary(name: str) -> str:
        try:
            return _first_line(inspect.getdoc(load(name)))
        except ImportError as error:
            return f"does not load: {str(error).partition(chr(10))[0]}"

    return summary


def _first_line(doc: str | None) -> str:
    """The first line of a docstring, without the name it may open with: the name stands beside it."""
    line = (doc or "").partition("\n")[0]
    head, colon, rest = line.partition(": ")
    return rest if colon and head.isidentifier() and head.islower() else line


# -- pages -------------------------------------------------------------------------------------------------------------


def _method_page(name: str) -> Page:
    cls = METHODS.get(name)
    views = ", ".join(f"{stream}: {' + '.join(v)}" for stream, v in vars(cls.views).items() if v)
    text = f"{inspect.getdoc(cls) or ''}\n\nviews it sees: {views}"
    return Page(f"method {name}", text, _rows(cls.Hyper, cls.search_ranges(), _conditions(cls)))


def _conditions(cls: Any) -> dict[str, str]:
    from platform.sweepfile.space import condition_text

    return {key: f"acts where {condition_text(condition)}" for key, condition in cls.conditions().items()}


def _source_page(name: str) -> Page:
    cls = SOURCES.get(name)
    return Page(f"data source {name}", inspect.getdoc(cls) or "", [*_rows(cls.Options), *_rows(_settings("data"))])


def _noise_summary(name: str) -> str:
    return WRITTEN_NOISE.get(name) or _summary_of(NOISE.get)(name)


def _noise_page(name: str) -> Page:
    return Page(f"label noise {name}", WRITTEN_NOISE.get(name) or inspect.getdoc(NOISE.get(name)) or "", [])


def _models() -> list[str]:
    return [*MODELS.names(), "timm:NAME"]


def _is_model(name: str) -> bool:
    return name.startswith("timm:") or name in MODELS.names()


def _model_summary(name: str) -> str:
    """The first line of the module's docstring, read without importing it: models import torch."""
    if name.startswith("timm:"):
        return "Any classification model of the timm library."
    try:
        spec = importlib.util.find_spec(f"{MODELS.package}.{name}")
    except ImportError:
        return ""
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return ""
    with open(spec.origin, encoding="utf-8") as file:
        return _first_line(ast.get_docstring(ast.parse(file.read())))


def _model_page(name: str) -> Page:
    if not name.startswith("timm:"):
        return Page(f"model {name}", inspect.getdoc(MODELS.get(name)) or "", [])
    import platform.models as models

    problem = models.check(name)
    if problem:
        raise UserError(problem)
    return Page(f"model {name}", "of the timm library; features and head are split as the platform needs them", [])


def _rule_summary(name: str) -> str:
    import platform.training.selection as selection

    return selection.get(name).help


def _rule_page(name: str) -> Page:
    import platform.training.selection as selection

    rule = selection.get(name)
    doc = inspect.getdoc(RULES.get(name)) or rule.help
    facts = f"{'larger' if rule.maximise else 'smaller'} is better; "
    facts += f"{'needs' if rule.needs_truth else 'needs no'} true labels"
    return Page(f"selection rule {name}", f"{doc}\n\n{facts}", [])


def _diagnostics_page(name: str) -> Page:
    from platform.training.diagnostics import names

    rows: list[tuple[str, ...]] = [(column, found.cost, found.text) for column, found in names.TABLE.items()]
    columns = ("name", "cost", "meaning")
    return Page(f"{name}: columns diag/NAME of the curves", inspect.getdoc(names) or "", rows, columns)


def _settings_page(name: str) -> Page:
    from platform.sweepfile.space import TRAIN_RANGES

    model = _settings(name)
    rows = _rows(model, TRAIN_RANGES if name == "train" else {})
    return Page(f"{name}: in a sweep file", inspect.getdoc(model) or "", rows)


def _settings(name: str) -> type[BaseModel]:
    from platform.sweepfile.loading import SECTIONS

    return SECTIONS[name]


def _rows(
    model: type[BaseModel], ranges: dict[str, Range] | None = None, conditions: dict[str, str] | None = None
) -> list[tuple[str, ...]]:
    """A row of each field. conditions: what its help says beside its description."""
    from pydantic_core import PydanticUndefined

    from platform.sweepfile.error_text import expectation, field_schema, show

    rows: list[tuple[str, ...]] = []
    for key, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True, validated_data={})
        shown = (
            "(needed)" if default is PydanticUndefined else "(none)" if default is None else show(default).strip("'")
        )
        found = (ranges or {}).get(key)
        text = "; ".join(part for part in (info.description, (conditions or {}).get(key)) if part)
        rows.append((key, shown, expectation(*field_schema(model, key)), str(found or ""), text))
    return rows


# -- printing ----------------------------------------------------------------------------------------------------------


def show_listing(lines: Iterable[Line], terminal: bool) -> None:
    if not terminal:
        for line in lines:
            print(f"{line.section}\t{line.name}\t{line.summary}")
        return
    from rich.console import Console
    from rich.text import Text

    table = _table("in a sweep file", "name", "what it is")
    before = ""
    for line in lines:
        if before and line.section != before:
            table.add_section()
        table.add_row(line.section if line.section != before else "", line.name, Text(line.summary))
        before = line.section
    Console().print(table)
    print(f"{program('catalog')} NAME shows hyper-parameters, options, ranges and the full text of one of them.")


def show_page(found: Page, terminal: bool) -> None:
    if not terminal:
        print(f"{found.title}\n\n{found.text}")
        if found.rows:
            print()
        for row in (found.columns, *found.rows) if found.rows else ():
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(found.title, style="bold"))
    console.print(Text(f"\n{found.text}\n"))
    if found.rows:
        table = _table(*found.columns)
        for row in found.rows:
            table.add_row(*map(Text, row))
        console.print(table)


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def main(argv: list[str] | None = None) -> int:
    """Exit code 0, or 2 where there is nothing of that name."""
    parser = argparse.ArgumentParser(
        prog=program("catalog"), description="What can be named in a sweep file.", epilog="example: fixmatch"
    )
    parser.add_argument("name", nargs="?", help="a method, source, noise, model, rule, section, or a plug-in file")
    options = parser.parse_args(argv)
    try:
        if options.name is None:
            show_listing(listing(), sys.stdout.isatty())
        else:
            show_page(page(options.name), sys.stdout.isatty())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
