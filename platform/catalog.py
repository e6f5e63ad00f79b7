"""What can be named in a sweep file: methods, sources, models, noise kinds, selection rules.

python -m platform.catalog              the names, one line each
python -m platform.catalog fixmatch     its hyper-parameters or options: default, limits, range, help
python -m platform.catalog my_method.py the same of a plug-in file
python -m platform.catalog train        the training settings
python -m platform.catalog diagnostics  what the curves' columns diag/NAME mean
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.registry import METHODS, MODELS, NOISE, RULES, SOURCES, noise_kinds

if TYPE_CHECKING:
    from pydantic import BaseModel

    from methods.ranges import Range

SECTIONS = ("data", "labels", "train", "budget", "resources", "retry", "watch")


@dataclass(frozen=True)
class Line:
    """One thing that can be named, and where: `methods:`, `data: {source: }`, ..."""

    section: str
    name: str
    summary: str


def listing() -> list[Line]:
    """Everything, by section. A plug-in that does not load is listed with the reason."""
    import platform.training.selection as selection

    lines = [Line("methods", name, _summary(lambda n=name: METHODS.get(n))) for name in METHODS.names()]
    lines += [Line("data.source", name, _summary(lambda n=name: SOURCES.get(n))) for name in SOURCES.names()]
    lines += [Line("labels.noise", name, _noise_summary(name)) for name in noise_kinds()]
    lines += [Line("model", name, _module_summary(f"platform.models.{name}")) for name in MODELS.names()]
    lines.append(Line("model", "timm:NAME", "Any classification model of the timm library."))
    lines += [Line("select", name, selection.get(name).help) for name in RULES.names()]
    lines.append(Line("curves", "diagnostics", "What trials find out about themselves: the columns diag/NAME."))
    lines += [Line("settings", name, (_settings(name).__doc__ or "").partition("\n")[0]) for name in SECTIONS]
    return lines


def _noise_summary(name: str) -> str:
    words = {
        "none": "Labels as they are.",
        "column:NAME": "The labels of a column of the data: real mistakes.",
    }
    return words.get(name) or _summary(lambda: NOISE.get(name))


def _summary(load: Any) -> str:
    try:
        return _first_line(inspect.getdoc(load()))
    except ImportError as error:
        return f"does not load: {str(error).partition(chr(10))[0]}"


def _module_summary(name: str) -> str:
    """First line of a module's docstring, without importing it."""
    import ast

    try:
        spec = importlib.util.find_spec(name)
    except ImportError:
        return ""
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return ""
    with open(spec.origin, encoding="utf-8") as file:
        return _first_line(ast.get_docstring(ast.parse(file.read())))


def _first_line(doc: str | None) -> str:
    """Of a docstring, without the name it may open with: the name stands beside it."""
    line = (doc or "").partition("\n")[0]
    head, colon, rest = line.partition(": ")
    return rest if colon and head.isidentifier() and head.islower() else line


@dataclass(frozen=True)
class Page:
    """One name in full."""

    title: str
    text: str
    rows: list[tuple[str, ...]]
    columns: tuple[str, ...] = ("key", "default", "allowed", "auto searches", "help")


def page(name: str) -> Page:
    """The page of a name. Raises UserError where there is none, or where it does not load."""
    import platform.training.selection as selection

    try:
        if name.endswith(".py") or name in METHODS.names():
            return _method_page(name)
        if name in SOURCES.names():
            cls = SOURCES.get(name)
            return Page(
                f"data source {name}", inspect.getdoc(cls) or "", [*_rows(cls.Options), *_rows(_settings("data"))]
            )
    except ImportError as error:
        reason, trace = getattr(error, "reason", str(error)), getattr(error, "trace", "")
        raise UserError(Problem(reason, where=name, hint=trace)) from error
    if name in SECTIONS:
        return _settings_page(name)
    if name == "diagnostics":
        return _diagnostics_page()
    if name in RULES.names():
        rule = selection.get(name)
        doc = inspect.getdoc(sys.modules.get(f"platform.training.selection.{name}")) or rule.help
        facts = f"{'larger' if rule.maximise else 'smaller'} is better; "
        return Page(
            f"selection rule {name}", f"{doc}\n\n{facts}{'needs' if rule.needs_truth else 'needs no'} true labels", []
        )
    if name in MODELS.names():
        return Page(f"model {name}", _module_doc(f"platform.models.{name}"), [])
    if name.startswith("timm:"):
        import platform.models as models

        problem = models.check(name)
        if problem:
            raise UserError(problem)
        return Page(f"model {name}", "of the timm library; features and head are split as the platform needs them", [])
    if name in noise_kinds():
        doc = _noise_summary(name) if name in ("none", "column:NAME") else inspect.getdoc(NOISE.get(name)) or ""
        return Page(f"label noise {name}", doc, [])
    valid = [
        *METHODS.names(),
        *SOURCES.names(),
        *noise_kinds(),
        *MODELS.names(),
        *RULES.names(),
        *SECTIONS,
        "diagnostics",
    ]
    hint = did_you_mean(name, list(dict.fromkeys(valid)), "python -m platform.catalog")
    raise UserError(Problem(f"nothing is called '{name}'", hint=hint))


def _method_page(name: str) -> Page:
    cls = METHODS.get(name)
    views = ", ".join(f"{stream}: {' + '.join(v)}" for stream, v in vars(cls.views).items() if v)
    return Page(
        f"method {name}",
        f"{inspect.getdoc(cls) or ''}\n\nviews it sees: {views}",
        _rows(cls.Hyper, cls.search_ranges()),
    )


def _diagnostics_page() -> Page:
    from platform.training.diagnostics import names

    rows: list[tuple[str, ...]] = [(name, found.cost, found.text) for name, found in names.TABLE.items()]
    return Page(
        "diagnostics: columns diag/NAME of the curves", inspect.getdoc(names) or "", rows, ("name", "cost", "meaning")
    )


def _settings_page(name: str) -> Page:
    from platform.sweepfile.space import TRAIN_RANGES

    model = _settings(name)
    return Page(
        f"{name}: in a sweep file", inspect.getdoc(model) or "", _rows(model, TRAIN_RANGES if name == "train" else {})
    )


def _settings(name: str) -> type[BaseModel]:
    from platform.sweepfile.loading import SECTIONS as MODELS

    return MODELS[name]


def _module_doc(name: str) -> str:
    module = importlib.import_module(name)
    return inspect.getdoc(module) or ""


def _rows(model: type[BaseModel], ranges: dict[str, Range] | None = None) -> list[tuple[str, ...]]:
    from pydantic_core import PydanticUndefined

    from platform.sweepfile.error_text import expectation, field_schema, show

    rows: list[tuple[str, ...]] = []
    for key, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True, validated_data={})
        shown = (
            "(needed)" if default is PydanticUndefined else "(none)" if default is None else show(default).strip("'")
        )
        found = (ranges or {}).get(key)
        rows.append((key, shown, expectation(*field_schema(model, key)), str(found or ""), info.description or ""))
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
    print("python -m platform.catalog NAME shows hyper-parameters, options, ranges and the full text of one of them.")


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
        prog="python -m platform.catalog", description="What can be named in a sweep file.", epilog="example: fixmatch"
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
