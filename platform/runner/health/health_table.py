"""The findings as one table: what holds on every node in one line, what does not in a line for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from platform.report.table import Column, Table
from platform.runner.health.health_findings import HealthFinding

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["health_table"]

STYLE = {"good": "green", "note": "yellow", "bad": "bold red"}


def health_table(findings: Iterable[HealthFinding]) -> RenderableType:
    """For a terminal."""
    by_check: dict[str, list[HealthFinding]] = {}
    for each in findings:
        by_check.setdefault(each.check, []).append(each)
    items = [line for group in by_check.values() for line in _lines(group)]
    columns: list[Column[HealthFinding]] = [
        Column("check", lambda each: each.check),
        Column("node", lambda each: each.node),
        Column("", lambda each: each.verdict, style=lambda each: STYLE[each.verdict]),
        Column("found", lambda each: each.found + (f"\n{each.advice}" if each.advice else "")),
    ]
    return Table(columns, items).terminal()


def _lines(group: list[HealthFinding]) -> list[HealthFinding]:
    """One line for all nodes of which the same is found."""
    same: dict[HealthFinding, list[str]] = {}
    for each in group:
        same.setdefault(replace(each, node=""), []).append(each.node)
    return [replace(each, node=_names(names, len(group))) for each, names in same.items()]


def _names(names: list[str], nodes: int) -> str:
    if len(names) == nodes > 1:
        return f"all {nodes} nodes"
    return "\n".join(names) if len(names) <= 3 else f"{len(names)} nodes"
