"""Plug-in files of every kind by path: where they are looked for, and what is said where they do not load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from platform.core.errors import UserError
from platform.sweepfile import load, smoke

RULE = "MAXIMISE, NEEDS_TRUTH = True, False\n\n\ndef score(reports):\n    return reports[-1]['noisy_val_accuracy']\n"
NOISE = """
from platform.data.noise.noise_model import Noise

class Mine(Noise):
    '''mine: none.'''
"""
SOURCE = """
from platform.data.sources.source import Source

class Mine(Source):
    '''mine: nothing.'''
"""
MODEL = "from platform.models.small_cnn import build\n"
PLACES = {
    "select": ("select: {}", RULE),
    "labels.noise": ("labels: {{noise: {}, rate: 0.4}}", NOISE),
    "data.source": ("data: {{source: {}}}", SOURCE),
    "model": ("model: {}", MODEL),
}


def problems(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(path, list(overrides))
    return caught.value.render()


@pytest.mark.parametrize("key", PLACES)
class TestEachKind:
    def test_beside_the_sweep_file_or_in_the_current_folder(
        self, key: str, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        line, text = PLACES[key]
        (tmp_path / "spaces").mkdir()
        space = write(f"methods: [supervised]\n{line.format('./mine.py')}\n", "spaces/space.yaml")
        monkeypatch.chdir(tmp_path)
        for folder, shown in (("", "./mine.py"), ("spaces", "./spaces/mine.py")):  # the sweep file's folder goes first
            (tmp_path / folder / "mine.py").write_text(text)
            (found,) = load(space).plug_ins
            assert (found.path, found.source) == (shown, text)

    def test_what_is_resolved_loads_from_another_folder(
        self, key: str, write: Callable[..., Path], tmp_path: Path
    ) -> None:
        line, text = PLACES[key]
        (tmp_path / "mine.py").write_text(text)
        found = load(write(f"methods: [supervised]\n{line.format('mine.py')}\n"))
        elsewhere = tmp_path / "results" / "mine" / "sweep.yaml"
        elsewhere.parent.mkdir(parents=True)
        elsewhere.write_text(found.to_yaml())
        assert load(elsewhere) == found
        assert smoke(found).plug_ins == found.plug_ins  # what is one's own is tried as well

    def test_no_such_file(self, key: str, write: Callable[..., Path], tmp_path: Path) -> None:
        text = problems(write(f"methods: [supervised]\n{PLACES[key][0].format('./mine.py')}\n"))
        assert f"sweep.yaml:2: {key}: ./mine.py: no such file" in text
        assert f"looked for {tmp_path / 'mine.py'} and {Path('mine.py').absolute()}" in text

    def test_it_does_not_import(self, key: str, write: Callable[..., Path], tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text("import nothing_of_that_name\n")
        text = problems(write(f"methods: [supervised]\n{PLACES[key][0].format('./mine.py')}\n"))
        assert f"{key}: ./mine.py: does not import" in text and "nothing_of_that_name" in text

    def test_another_kind(self, key: str, write: Callable[..., Path], tmp_path: Path) -> None:
        other = RULE if key != "select" else MODEL
        (tmp_path / "mine.py").write_text(other)
        text = problems(write(f"methods: [supervised]\n{PLACES[key][0].format('./mine.py')}\n"))
        assert "holds exactly one subclass of" in text or "this one lacks" in text
        assert "1 error; nothing was started" in text


def test_an_override_names_one(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RULE)
    assert load(write("methods: [supervised]\n"), ["select=./mine.py"]).plug_ins[0].kind == "selection rule"


def test_a_noise_by_path_needs_a_rate(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NOISE)
    assert "noise needs a rate above 0" in problems(write("methods: [supervised]\nlabels: {noise: mine.py}\n"))


def test_a_source_by_path_has_options(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE + "    class Options(Source.Options):\n        depth: int = 1\n")
    text = problems(write("methods: [supervised]\ndata: {source: mine.py, deptth: 2}\n"))
    assert "data.deptth: no such option of source" in text and "did you mean: depth" in text


def test_sweeps_without_files_have_the_keys_of_before(write: Callable[..., Path]) -> None:
    sweep = load(write("methods: [supervised]\n"))
    (study,) = sweep.studies()
    from platform.core.code_hash import code_hash

    assert sweep.plug_ins == () and study.base.code == code_hash(study.method.cls)
