"""Checks of sources, noise kinds, models and selection rules: each catches what it is there for, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

import platform.check as door
from platform.conformance import CHECKS_OF
from platform.core.registry import FINDERS
from tests.test_contributing import blocks

NPZ, NEIGHBOURS, TINY, STEADY = blocks("CONTRIBUTING.md", "python")[2:]
DRAWN = """
import numpy as np
from platform.data.sources.source import Reading, Source, Split

rng = np.random.default_rng(0)


class Drawn(Source):
    '''drawn: forty images of two classes.'''

    def read(self):
        images, labels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
        return Reading(Split(images, labels), Split(images, labels), ("a", "b"))
"""

BROKEN = [
    # source, (text, what stands there instead), the check that fails, what it says
    (DRAWN, ("'''drawn: forty images of two classes.'''", "pass"), "docs", "the class has no docstring"),
    (DRAWN, ('("a", "b")', '("a",)'), "reads", "its labels go from 0 to 1: there are 1 classes"),
    (DRAWN, ("np.random.default_rng(0).integers", "rng.integers"), "repeatable", "something else the second time"),
    (
        DRAWN,
        ("    def read", "    def augment(self, shape):\n        return None\n\n    def read"),
        "opens",
        "NoneType",
    ),
    (DRAWN, ("np.arange(40) % 2", "np.full(40, -1)"), "trains", "nothing can be measured"),
    (NEIGHBOURS, ('"""neighbours: a share', 'doc = """neighbours: a share'), "docs", "no docstring"),
    (NEIGHBOURS, ("return table", "return table[0]"), "labels", "my_plugin.py' fails"),
    (NEIGHBOURS, ("1 - rate, rate", "1, 0"), "wrong", "all 2,000 labels are as before"),
    (NEIGHBOURS, ("1 - rate, rate", "1, rate"), "transition", "they sum to 1.400"),
    (
        NEIGHBOURS,
        ("return table", "np.random.shuffle(table)\n        return table"),
        "own_generator",
        "the same seed gives other labels",
    ),
    (TINY, ('"""tiny_cnn: one convolution, for images of any size."""', ""), "docs", "the file has no docstring"),
    (TINY, (".mean((2, 3))", ""), "parts", "features [4, 16, 8, 8], head Linear(in_features=16"),
    (TINY, ("nn.Linear(16,", "nn.Linear(8,"), "parts", "features [4, 16], head Linear(in_features=8"),
    (TINY, ('stages = ("body",)', 'stages = ("trunk",)'), "parts", "stages names what is no sub-module: trunk"),
    (
        TINY,
        ("    return TinyCNN", "    import torch\n\n    torch.manual_seed(0)\n    return TinyCNN"),
        "seeds",
        "are equal",
    ),
    (TINY, ("he_and_xavier(self)", "self.unused = nn.Linear(2, 2)"), "gradients", "unused.weight, unused.bias"),
    (TINY, ("he_and_xavier(self)", "nn.init.constant_(self.head.weight, 1e38)"), "trains", "ends as 'diverged'"),
    (TINY, ("self.body(x).mean", "self.body(x).item"), "parts", "the model raised this by itself"),
    (STEADY, ("MAXIMISE = True", "MAXIMISE = 1"), "facts", "MAXIMISE is neither True nor False"),
    (STEADY, ("noisy_val_accuracy", "test_accuracy"), "scores", "asks for 'test_accuracy'"),
    (STEADY, ("noisy_val_accuracy", "clean_val_accuracy"), "scores", "NEEDS_TRUTH = True"),
    (STEADY, ("sum(last) /", "str(sum(last)) if last else"), "scores", "gives a str"),
    (STEADY, ("    last =", "    reports.pop()\n    last ="), "pure", "changes the evaluations"),
    (STEADY, ("MAXIMISE = True", "MAXIMISE = False"), "direction", "MAXIMISE = True?"),
]


@pytest.mark.parametrize(("source", "change", "name", "said"), BROKEN, ids=[f"{c[2]}: {c[3]}" for c in BROKEN])
def test_a_broken_one_fails_with_what_to_do(
    source: str, change: tuple[str, str], name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert change[0] in source
    file = tmp_path / "my_plugin.py"
    file.write_text(source.replace(*change))
    assert door.main([str(file), "--only", name]) == 1
    out = capsys.readouterr().out
    assert f"FAILED   {name}" in out and said in out and "-> " in out


@pytest.mark.parametrize("kind", FINDERS)
def test_the_checks_of_a_kind_are_listed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = {"method": "fixmatch", "data source": "digits", "noise": "pair", "model": "small_cnn"}.get(kind, "val_loss")
    assert door.main(["--list", name]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CHECKS_OF[kind])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["EMPTY"], "holds no plug-in; it would define one of these\n    method: one subclass of methods.base.Method"),
        (["csv"], "data.path: source 'csv' needs it"),
        (["csv", "path=x", "pth=y"], "data.pth: no such option of source 'csv'\n    did you mean: path"),
        (["pair", "rate=0.4"], "rate=0.4: 'pair' is a noise: only data sources take options"),
        (["csv", "x"], "'x' is no key=value"),
    ],
)
def test_bad_input(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    assert door.main([word.replace("EMPTY", str(tmp_path / "empty.py")) for word in arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "model", "selection rule"])
def test_every_shipped_one_passes(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in FINDERS[kind].names():
        if name not in ("wrn_28_2", "wrn_28_8", "preact_resnet18"):  # minutes on a CPU
            assert door.main([name]) == 0, capsys.readouterr().out
