"""Plug-in files that a sweep file names by path: where they are looked for, and their texts."""

from __future__ import annotations

import os
from pathlib import Path

from platform.core.plugins import BrokenPlugin
from platform.core.registry import FINDERS, MODELS, NOISE, RULES, SOURCES
from platform.core.spec import PlugIn
from platform.sweepfile.schema import SweepFile
from platform.sweepfile.yaml_tree import Document

__all__ = ["find_file", "portable_path", "read_plug_ins", "report_broken"]

_PLACES = {
    SOURCES.what: ("data", "source"),
    NOISE.what: ("labels", "noise"),
    MODELS.what: ("model",),
    RULES.what: ("select",),
}
"""Where a sweep file names a plug-in of each kind but methods, of which it names several."""


def read_plug_ins(document: Document, file: SweepFile, folder: Path) -> tuple[SweepFile, tuple[PlugIn, ...]]:
    """Import what is named by path. Returns the settings with paths that hold from the current folder, and the texts.

    folder: that of the sweep file. What does not import, or is of another kind, is reported.
    """
    found: list[PlugIn] = []
    for kind, place in _PLACES.items():
        name = _value(file, place)
        if document.has_problem(*place) or not name.endswith(".py"):
            continue
        path = find_file(name, folder)
        try:
            FINDERS[kind].from_file(path)
        except BrokenPlugin as error:
            report_broken(document, place, name, error, folder)
            continue
        found.append(PlugIn(source=path.read_text(encoding="utf-8"), path=portable_path(path), kind=kind))
        file = _with_value(file, place, found[-1].path)
    return file, tuple(found)


def find_file(name: str, folder: Path) -> Path:
    """The file that a sweep file in `folder` means: beside it, else from the current folder."""
    beside = folder / name
    return beside if os.path.isfile(beside) else Path(name)  # Path.is_file raises for a name that is too long


def portable_path(file: Path) -> str:
    """The path as a resolved file names it: from the current folder where it lies below, so that it can be moved."""
    absolute = file.absolute()
    try:
        return "./" + str(absolute.relative_to(Path.cwd()))
    except ValueError:
        return str(absolute)


def report_broken(
    document: Document, place: tuple[str | int, ...], name: str, error: BrokenPlugin, folder: Path
) -> None:
    """Report a plug-in that does not load, with the places where its file was looked for."""
    hint = error.trace
    if error.reason == "no such file":
        hint = f"looked for {folder / name} and {Path(name).absolute()}"
    document.report(place, f"{name}: {error.reason}", hint)


def _value(file: SweepFile, place: tuple[str, ...]) -> str:
    section = getattr(file, place[0])
    return section if len(place) == 1 else getattr(section, place[1])


def _with_value(file: SweepFile, place: tuple[str, ...], value: str) -> SweepFile:
    if len(place) == 1:
        return file.model_copy(update={place[0]: value})
    section = getattr(file, place[0]).model_copy(update={place[1]: value})
    return file.model_copy(update={place[0]: section})
