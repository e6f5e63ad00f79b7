"""The command line that several measurements of this folder have in common."""

from __future__ import annotations

import argparse
from collections.abc import Collection


def read_arguments(
    doc: str | None, cases: Collection[str], default: Collection[str], runs: int, what: str
) -> argparse.Namespace:
    """`cases`, `runs` (of what) and `device` from the command line; an unknown case ends the program in words."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    usual = "all" if len(default) == len(cases) else ", ".join(default)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}; {usual} by default")
    parser.add_argument("--runs", type=int, default=runs, help=what)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.cases if name not in cases]:
        parser.error(f"no such case: {unknown[0]}; one of {', '.join(cases)}")
    chosen.cases = chosen.cases or list(default)
    return chosen
