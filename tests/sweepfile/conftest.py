"""Sweep files from strings, and methods from strings."""

from __future__ import annotations

import functools
import importlib.metadata
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from platform.core.errors import UserError
from platform.sweepfile import Sweep, load

PLUGIN = """
from typing import Literal

from pydantic import model_validator
from torch.nn import functional as F

from methods.base import Method, Terms, hyper
from methods.ranges import choice, log_uniform


class Mine(Method):
    \"\"\"A method of one's own.\"\"\"

    class Hyper(Method.Hyper):
        mode: Literal["plain", "fancy"] = hyper("plain", search=choice("plain", "fancy"), help="what it does")
        depth: int = hyper(2, ge=1, le=8, help="how much of it")
        strength: float = hyper(0.5, search=log_uniform(0.1, 1.0), gt=0, help="how hard")

        @model_validator(mode="after")
        def fits(self):
            if self.depth == 7 and self.strength == 0.5:
                raise ValueError("depth 7 and strength 0.5 do not go together")
            return self

    def loss(self, batch):
        return Terms(labelled=F.cross_entropy(self.model(batch.labelled.weak), batch.labelled.y))
"""


@pytest.fixture(scope="package", autouse=True)
def entry_points_once() -> Iterator[None]:
    """Every load asks for the entry points of all installed packages; here they do not change."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "entry_points", functools.cache(importlib.metadata.entry_points))
        yield


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep file (or any other) from a string and returns its path."""

    def _write(text: str, name: str = "sweep.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return _write


@pytest.fixture
def plugin(write: Callable[..., Path]) -> Path:
    return write(PLUGIN, "mine.py")


@pytest.fixture
def sweep(write: Callable[..., Path]) -> Callable[..., Sweep]:
    """The checked sweep of a string, with overrides."""
    return lambda text, *overrides: load(write(text), list(overrides))


@pytest.fixture
def problems(write: Callable[..., Path]) -> Callable[..., list[str]]:
    """Every problem of a string with overrides, as printed, without the folder."""

    def _problems(text: str, *overrides: str) -> list[str]:
        path = write(text)
        with pytest.raises(UserError) as caught:
            load(path, list(overrides))
        return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]

    return _problems
