"""`import kurabe` and the command `kurabe` in other folders, where Python's own `platform` came first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import kurabe
import platform
from platform import sweep
from platform.core.invocation import as_called, called_by, program
from platform.sweepfile.shipped import find_sweep_file, shipped_names

ROOT = Path(__file__).parents[1]


def installed(folder: Path) -> dict[str, str]:
    """An environment in which kurabe can be imported as where it is installed: nothing else of the checkout can."""
    place = folder / "installed"
    place.mkdir(exist_ok=True)
    (place / "kurabe.py").symlink_to(ROOT / "kurabe.py")
    return {"PYTHONPATH": str(place)}


def run(folder: Path, *words: str, code: int = 0, **environment: str) -> str:
    """What `python WORDS` in `folder` prints, on both streams. code: its exit code."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of a user's, with a file that is called like a package of ours."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "methods.py").write_text("raise SystemExit('the methods.py of the current folder was imported')\n")
    return folder


# -- import kurabe -----------------------------------------------------------------------------------------------------

BESIDE = """
import platform, torch
before = platform.uname, platform.system()
import kurabe
assert platform.uname is before[0] and platform.system() == before[1]
import methods, platform.core.spec
print(kurabe.ROOT, platform.__path__[0], methods.__file__, sep="\\n")
(step, _), *_ = [(step.step, step.losses) for step in kurabe.trial("mixup", steps=1).steps()]
print(step)
"""


@pytest.mark.slow
def test_it_is_imported_where_torch_has_imported_pythons_own(elsewhere: Path, tmp_path: Path) -> None:
    printed = run(elsewhere, "-c", BESIDE, **installed(tmp_path))
    assert printed.splitlines() == [str(ROOT), f"{ROOT}/platform", f"{ROOT}/methods/__init__.py", "1"]


def test_python_m_platform_prints_what_it_always_prints_beside_it(elsewhere: Path, tmp_path: Path) -> None:
    code = "import kurabe, platform; print(platform.platform())"
    assert run(elsewhere, "-c", code, **installed(tmp_path)).strip() == platform.platform()


def test_what_it_costs_to_import_is_little(elsewhere: Path, tmp_path: Path) -> None:
    code = "import kurabe, sys; print(*sys.modules)"
    loaded = set(run(elsewhere, "-c", code, **installed(tmp_path)).split())
    assert loaded & {"torch", "pandas", "numpy", "matplotlib", "pydantic", "ray", "mlflow", "rich", "yaml"} == set()


@pytest.mark.parametrize("name", ["platform", "methods"])
def test_a_foreign_package_of_that_name_is_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("")
    paths = f"{installed(tmp_path)['PYTHONPATH']}{os.pathsep}{tmp_path}"
    said = run(tmp_path, "-c", f"import {name}, kurabe", code=1, PYTHONPATH=paths)
    assert f"ImportError: kurabe cannot be imported here: another `{name}` has been imported" in said
    assert str(tmp_path / f"{name}.py") in said and f"expected: {ROOT / name}" in said
    assert "restart the kernel" in said and "or rename that file" in said


def test_another_copy_of_kurabe_is_called_that(tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "platform").mkdir(parents=True)
    shutil.copy(ROOT / "platform" / "__init__.py", other / "platform")
    shutil.copy(ROOT / "kurabe.py", other)
    paths = f"{installed(tmp_path)['PYTHONPATH']}{os.pathsep}{other}"
    said = run(tmp_path, "-c", "import platform, kurabe", code=1, PYTHONPATH=paths)
    assert "that is another copy of kurabe" in said and f"{other}/platform/__init__.py" in said


def test_a_copy_of_the_module_alone_says_how_to_install(tmp_path: Path) -> None:
    shutil.copy(ROOT / "kurabe.py", tmp_path)
    said = run(tmp_path, "-c", "import kurabe", code=1)
    assert f"needs the folder {tmp_path}/platform, which is not there" in said and "pip install --editable" in said


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_is_declared_and_so_are_the_files_it_needs() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert declared["project"]["scripts"] == {"kurabe": "kurabe:main"}
    tools = declared["tool"]["setuptools"]
    assert tools["py-modules"] == ["kurabe"]
    shipped = {file for globs in tools["data-files"].values() for pattern in globs for file in ROOT.glob(pattern)}
    assert shipped == {file for file in (ROOT / "search_spaces").rglob("*") if file.is_file()}
    for target, globs in tools["data-files"].items():
        assert {Path(pattern).parent for pattern in globs} == {Path(target).relative_to("share/kurabe")}


def test_the_entry_point_runs_from_another_folder_with_paths_from_there(elsewhere: Path, tmp_path: Path) -> None:
    entry = "import sys; from kurabe import main; sys.exit(main())"
    environment = installed(tmp_path)
    assert run(elsewhere, "-c", entry, "catalog", "labels", **environment).startswith("labels: in a sweep file\n")
    said = run(elsewhere, "-c", entry, "compare", "results/a", code=2, **environment)
    assert "results/a: no such folder\n    kurabe compare results/NAME\n1 error; nothing was compared." in said
    (elsewhere / "bad.yaml").write_text("methods: [fixmach]\n")
    said = run(elsewhere, "-m", "kurabe", "sweep", "bad.yaml", code=2, **environment)
    assert said.startswith("bad.yaml:1: methods: no such method: 'fixmach'\n    did you mean: fixmatch")
    assert "kurabe catalog" in said and "python -m" not in said


@pytest.mark.slow
def test_a_dry_run_from_another_folder_measures_and_says_where_results_would_lie(
    elsewhere: Path, tmp_path: Path
) -> None:
    """It measures in processes of its own, which are started in that folder, too."""
    words = ("-m", "kurabe", "sweep", "mixup", "train.steps=8", "budget.trials=1", "tracking=none", "--dry-run")
    said = run(elsewhere, *words, **installed(tmp_path))
    assert f"mixup is not a file here; taking {ROOT}/search_spaces/mixup.yaml\n" in said
    assert f"results go to {elsewhere}/results/mixup (./results of the folder you are in" in said
    assert "of training and evaluation. On the clock about" in said and "could not be measured" not in said
    assert sorted(path.name for path in elsewhere.iterdir() if path.name != "__pycache__") == ["methods.py"]


def test_help_lists_every_command_and_each_ones_help_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert kurabe.main(["--help"]) == 0
    listed = capsys.readouterr().out
    commands = [path.stem for path in (ROOT / "platform").glob("[a-z]*.py")]
    assert len(commands) >= 5
    for name in commands:
        assert f"\n  {name} " in listed
        with pytest.raises(SystemExit):
            kurabe.main([name, "--help"])
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: kurabe {name} ") and "python -m platform" not in shown
    assert kurabe.main([]) == 2
    assert program("sweep") == "python -m platform.sweep"  # outside, all is as it was


def test_what_is_no_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert kurabe.main(["swep"]) == 2
    said = capsys.readouterr().err
    assert "no such command: 'swep'\n    did you mean: sweep" in said and "nothing was started" in said
    assert kurabe.main(["my.yaml"]) == 2
    assert "kurabe sweep my.yaml" in capsys.readouterr().err


def test_commands_are_told_as_they_are_typed() -> None:
    text = "python -m platform.catalog lists all; python -m platform.dry_run.measure; --allow-unequal"
    assert as_called(text) == text
    with called_by("command"):
        assert as_called(text) == "kurabe catalog lists all; python -m platform.dry_run.measure; --allow-unequal"
    with called_by("python"):
        assert as_called(text).endswith("; allow_unequal=True")
    assert as_called(text) == text


# -- sweep files -------------------------------------------------------------------------------------------------------


def test_a_sweep_file_is_found_here_first_then_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = ROOT / "search_spaces" / "layermatch.yaml"
    for name in ("layermatch", "layermatch.yaml", "search_spaces/layermatch.yaml", "search_spaces/layermatch"):
        assert find_sweep_file(name) == shipped
    assert find_sweep_file(str(shipped)) == shipped
    assert "layermatch" in shipped_names() and any(name.startswith("cifar10/") for name in shipped_names())
    assert all(find_sweep_file(name).is_file() for name in shipped_names())
    (tmp_path / "layermatch.yaml").write_text("")
    assert find_sweep_file("layermatch") == Path("layermatch.yaml")
    (tmp_path / "results" / "layermatch").mkdir(parents=True)
    for name in ("ledger.jsonl", "sweep.yaml"):
        (tmp_path / "results" / "layermatch" / name).write_text("")
    assert find_sweep_file("results/layermatch") == Path("results/layermatch/sweep.yaml")
    with pytest.raises(kurabe.UserError, match="did you mean: layermatch") as raised:
        find_sweep_file("layermach.yaml")
    assert str(tmp_path) in str(raised.value) and str(ROOT) in str(raised.value)


def test_python_m_platform_sweep_looks_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep.main(["layermatch"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "layermatch" in said.err and "did you mean" not in said.err
