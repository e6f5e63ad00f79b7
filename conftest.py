"""Makes the folder `platform` importable however pytest was started.

`python -m pytest` puts the repository root first. A bare `pytest` has imported the standard library's `platform`
before anybody could ask it not to: that module is turned into the package it would have been, in place, because
others hold references to it.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parent


def extend(module: object) -> None:
    """Turn an already imported standard `platform` into this repository's package."""
    folder = ROOT / "platform"
    spec = importlib.util.spec_from_file_location(
        "platform", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    standard = module.__file__  # type: ignore[attr-defined]
    vars(module).update(
        __path__=[str(folder)], __file__=str(folder / "__init__.py"), __package__="platform", __spec__=spec
    )
    vars(module)["_STANDARD"] = standard


if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import platform  # noqa: E402

if not hasattr(platform, "__path__"):
    extend(platform)
