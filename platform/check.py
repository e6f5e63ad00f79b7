"""Checks whether a plug-in keeps to its contract: methods, data sources, noise kinds, models and selection rules.

python -m platform.check NAME
python -m platform.check my_method.py
python -m platform.check my_source.py path=/path/to/images
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.invocation import program

if TYPE_CHECKING:
    from platform.conformance import Result, Subject


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: all checks hold. 1: one does not. 2: there is no such plug-in or check, or it does not import."""
    options = _parser().parse_intermixed_args(argv)
    try:
        if options.list:
            return _list("method" if options.plugin is None else _subject(options.plugin).kind)
        subject = _subject(options.plugin, options.options)
        names = _chosen(options.only, options.quick, subject.kind)
    except UserError as error:
        print(error.render("nothing was checked"), file=sys.stderr)
        return 2
    return _run(subject, names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("check"),
        description="Does a plug-in keep to its contract? Says in words what does not hold and what to do.",
        epilog=f"example: {program('check')} my_method.py --only state,ranges",
    )
    parser.add_argument("plugin", nargs="?", metavar="NAME", help="a name of the catalog, or a plug-in file")
    parser.add_argument("options", nargs="*", metavar="key=value", help="options of a data source")
    parser.add_argument("--only", metavar="CHECK[,CHECK]", help="these checks alone")
    parser.add_argument("--quick", action="store_true", help="leave out whole trials: a second or two")
    parser.add_argument("--list", action="store_true", help="list the checks of that kind (or of methods) and stop")
    return parser


def _list(kind: str) -> int:
    from platform.conformance import CHECKS_OF

    width = max(map(len, CHECKS_OF[kind]))
    for name, found in CHECKS_OF[kind].items():
        print(f"{name:{width}}  {found.what}")
    return 0


def _subject(name: str | None, options: Sequence[str] = ()) -> Subject:
    if name is None:
        hint = "python -m platform.check fixmatch        (python -m platform.catalog lists all)"
        raise UserError(Problem("which method? (or source, noise, model, selection rule)", hint=hint))
    from platform.conformance import Subject
    from platform.core.plugins import BrokenPlugin, UnknownPlugin
    from platform.core.registry import METHODS

    try:
        subject = Subject.of(name, _values(options))
    except UnknownPlugin as error:
        hint = did_you_mean(name, METHODS.names(), "python -m platform.catalog")
        raise UserError(Problem(f"no such method: '{name}'", hint=f"{hint}\na plug-in file ends in .py")) from error
    except BrokenPlugin as error:
        raise UserError(Problem(error.reason, where=name, hint=error.trace)) from error
    if subject.kind == "data source":
        from platform.conformance.source_checks import make

        make(subject)  # its options are checked before anything else
    elif options:
        raise UserError(Problem(f"'{name}' is a {subject.kind}: only data sources take options", where=options[0]))
    return subject


def _values(options: Sequence[str]) -> dict[str, Any]:
    """key=value, the values as in a sweep file."""
    import yaml

    wrong = [option for option in options if "=" not in option]
    if wrong:
        raise UserError(*(Problem(f"'{option}' is no key=value", hint="example: path=/path/to") for option in wrong))
    pairs = (option.partition("=") for option in options)
    try:
        return {key.removeprefix("data."): yaml.safe_load(value) for key, _, value in pairs}
    except yaml.YAMLError as error:
        raise UserError(Problem(f"not valid YAML: {' '.join(str(error).split())}")) from error


def _chosen(only: str | None, quick: bool, kind: str) -> list[str]:
    from platform.conformance import CHECKS_OF

    checks = CHECKS_OF[kind]
    if only is None:
        return [name for name, found in checks.items() if found.quick or not quick]
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in checks]
    if unknown or not wanted:
        problems = [Problem(f"no such check: '{name}'", hint=did_you_mean(name, checks)) for name in unknown or [""]]
        raise UserError(*problems)
    return [name for name in checks if name in wanted]


def _run(subject: Subject, names: list[str]) -> int:
    import torch

    from platform.conformance import run

    torch.set_num_threads(1)  # toy tensors: threads cost more than they bring
    print(f"{subject.name}: {subject.summary or '(no docstring)'}", flush=True)
    begin, results = time.perf_counter(), []
    width = max(map(len, names))
    for name in names:
        results.append(run(name, subject))
        _print(results[-1], width)
    failed, skipped = (sum(r.status == status for r in results) for status in ("failed", "skipped"))
    took = time.perf_counter() - begin
    print(
        f"{len(results)} checks: {len(results) - failed - skipped} ok, {failed} failed, {skipped} skipped; {took:.1f} s"
    )
    if failed:
        again = ",".join(r.check.name for r in results if r.status == "failed")
        print(f"again: {program('check')} {subject.name} --only {again}")
    return 1 if failed else 0


def _print(result: Result, width: int) -> None:
    word = {"ok": "ok", "failed": "FAILED", "skipped": "skipped"}[result.status]
    print(f"  {word:7}  {result.check.name:{width}}  {result.check.what}", flush=True)
    indent = " " * (13 + width)
    if result.message:
        print(textwrap.indent(result.message, indent))
    if result.advice:
        print(textwrap.indent(result.advice, indent + "   ").replace(indent + "   ", indent + "-> ", 1))


if __name__ == "__main__":
    sys.exit(main())
