"""Plug-ins of every kind are found where they lie, and what lies beside them is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from platform.core.plugins import Finder
from platform.core.registry import METHODS, MODELS, NOISE, RULES, SOURCES, noise_kinds

ROOT = Path(__file__).parents[2]
KINDS = {"method": METHODS, "data source": SOURCES, "noise": NOISE, "model": MODELS, "selection rule": RULES}


@pytest.mark.parametrize("what", KINDS)
def test_every_name_that_is_listed_loads(what: str):
    finder: Finder = KINDS[what]
    assert finder.what == what and finder.names()
    for name in finder.names():
        assert finder.has(name) and finder.get(name) is not None


def test_files_beside_the_plugins_are_not_listed():
    beside = [
        (METHODS, ["base", "ranges", "types", "parts"]),
        (SOURCES, ["source", "_torchvision"]),
        (NOISE, ["noise_model"]),
        (MODELS, ["parts"]),
    ]
    for finder, names in beside:
        for name in names:
            assert name not in finder.names() and not finder.has(name)


def test_noise_kinds_are_the_plugins_and_what_needs_none():
    assert noise_kinds()[0] == "none" and noise_kinds()[-1] == "column:NAME"
    assert noise_kinds()[1:-1] == NOISE.names() and {"symmetric", "pair", "instance"} <= set(NOISE.names())


def test_listing_imports_no_plugin_and_no_torch():
    code = (
        "import sys; from platform.core.registry import METHODS, MODELS, NOISE, RULES, SOURCES\n"
        "for finder in (METHODS, MODELS, NOISE, RULES, SOURCES): finder.names()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'methods', 'numpy')])\n"
        "print([name for name in sys.modules if name.startswith(('platform.data', 'platform.models'))])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
