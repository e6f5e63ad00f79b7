"""The door: python -m platform.check, and the suite as a pytest class."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import platform.check as door
from platform.conformance import CHECKS, MethodConformance
from tests.conformance.plugins import write

ROOT = Path(__file__).parents[2]


def test_a_good_plug_in_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main([str(write(tmp_path)), "--quick"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path / 'mine.py'}: Cross-entropy against softened labels")
    assert "9 checks: 9 ok, 0 failed, 0 skipped" in out


def test_a_broken_plug_in_fails_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, "losses.mean())", "losses[losses > 0].mean())")
    assert door.main([str(file), "--only", "no_waiting, docs"]) == 1
    out = capsys.readouterr().out
    assert "FAILED   no_waiting" in out and "boolean index" in out and "-> no .item()" in out
    assert f"again: python -m platform.check {file} --only no_waiting\n" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fixmach"], "no such method: 'fixmach'\n    did you mean: fixmatch"),
        (["missing.py"], "missing.py: no such file"),
        ([], "which method?"),
        (["fixmatch", "--only", "stat"], "no such check: 'stat'\n    did you mean: state"),
        (["fixmatch", "--only", ","], "no such check: ''"),
    ],
)
def test_bad_input(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.endswith("1 error; nothing was checked.\n")


def test_a_plug_in_that_does_not_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import nothing_of_that_name\n")
    assert door.main([str(file)]) == 2
    assert "does not import\n" in (err := capsys.readouterr().err) and "nothing_of_that_name" in err


def test_the_checks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert door.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CHECKS)


def test_the_pytest_class_has_a_test_per_check() -> None:
    tests = {name for name in vars(MethodConformance) if name.startswith("test_")}
    assert tests == {f"test_{name}" for name in CHECKS}


class Mine(MethodConformance):
    method = "./mine.py"


def test_the_class_fails_and_skips_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "losses.mean())", "losses.mean() * torch.rand(()))")
    monkeypatch.chdir(tmp_path)
    Mine().test_docs()
    with pytest.raises(pytest.fail.Exception, match="two runs of one seed differ from step 0") as failure:
        Mine().test_determinism()
    assert "-> draw random numbers with" in str(failure.value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(pytest.skip.Exception, match="no GPU"):
        Mine().test_cuda()


@pytest.mark.slow
def test_a_plug_in_authors_own_tests(tmp_path: Path) -> None:
    write(tmp_path, "losses.mean())", "losses.mean() * torch.rand(()))")
    (tmp_path / "test_mine.py").write_text(
        "from platform.conformance import MethodConformance\n\n\n"
        'class TestMine(MethodConformance):\n    method = "./mine.py"\n'
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "test_mine.py")]
    chosen = ["-k", "docs or determinism or cuda", "-rs", "--rootdir", str(tmp_path), "-c", "/dev/null"]
    done = subprocess.run([*command, *chosen], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert "two runs of one seed differ" in done.stdout and "-> draw random numbers with" in done.stdout
