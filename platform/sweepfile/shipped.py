"""The sweep files that come with the project, which `kurabe` finds from any folder."""

from __future__ import annotations

import sys
from pathlib import Path

from platform.core.errors import Problem, UserError, did_you_mean

__all__ = ["find_sweep_file", "shipped_folder", "shipped_names"]

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = Path("share", "kurabe", "search_spaces")
"""Where a wheel puts search_spaces/, below the environment's prefix (pyproject.toml, data-files)."""


def shipped_folder() -> Path | None:
    """search_spaces/ of the checkout, or its copy of an installed wheel; None where there is neither."""
    places = [ROOT / "search_spaces", *(prefix / INSTALLED for prefix in (ROOT, Path(sys.prefix)))]
    return next((place for place in places if place.is_dir()), None)


def shipped_names() -> list[str]:
    """Names as `kurabe sweep` takes them: layermatch, cifar10/fixmatch."""
    folder = shipped_folder()
    found = sorted(folder.rglob("*.yaml")) if folder is not None else []
    return [str(path.relative_to(folder).with_suffix("")) for path in found if folder is not None]


def find_sweep_file(name: str) -> Path:
    """The file that was meant: from the current folder, else one of the project's by its name or its path there.

    `layermatch`, `layermatch.yaml` and `search_spaces/layermatch.yaml` are the same. A folder of results means the
    sweep.yaml in it. Raises UserError where there is none.
    """
    here, folder = Path(name), shipped_folder()
    if (here / "ledger.jsonl").is_file():
        here = here / "sweep.yaml"
    places = [here, *([Path(f"{name}.yaml")] if not here.suffix else [])]
    if folder is not None and not here.is_absolute():
        inner = here.relative_to("search_spaces") if here.parts[:1] == ("search_spaces",) else here
        places += [folder / inner, *([folder / f"{inner}.yaml"] if not inner.suffix else [])]
    for place in places:
        if place.is_file():
            return place
    if here.is_dir():
        raise UserError(Problem("a folder; a sweep file, or a folder of results, was expected", where=str(here)))
    there = f" nor in {folder}" if folder is not None and not here.is_absolute() else ""
    hint = did_you_mean(here.stem, shipped_names())
    raise UserError(Problem(f"no such sweep file, neither in {Path.cwd()}{there}", where=name, hint=hint))
