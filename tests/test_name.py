"""The package is called `platform` and must stay a faithful stand-in for Python's own module (CONTRIBUTING.md)."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import pickle
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import platform

ROOT = Path(__file__).parents[1]
STANDARD = Path(sysconfig.get_path("stdlib"), "platform.py")
OURS = {"_machinery", "_os", "_STANDARD", "_code", "__path__"}
"""What the package adds to the standard module. A further public name would be one that Python may claim tomorrow."""

MEANS = {"importlib", "importlib.machinery", "importlib._bootstrap", "importlib._bootstrap_external", "warnings"}
"""What the package needs to run the standard module's code; any program that imports more than a file has these."""

IMPORT_COST = "import sys; before = set(sys.modules); import platform; print(*sorted(set(sys.modules) - before))"


def standard_module() -> ModuleType:
    """Python's own module, loaded from the standard library's file under another name."""
    spec = importlib.util.spec_from_file_location("standard_platform", STANDARD)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def describe(module: Any) -> dict[str, str]:
    """Every public name of a platform module: a function called without arguments, where it takes none, else its kind.

    Private functions are described by their signature: libraries use some (`platform._sys_version`).
    """
    found: dict[str, str] = {}
    for name, value in sorted(vars(module).items()):
        if inspect.isfunction(value):
            needed = [p for p in inspect.signature(value).parameters.values() if p.default is p.empty]
            call = not name.startswith("_") and not needed
            found[name] = f"{inspect.signature(value)} {_called(value) if call else ''}"
        elif inspect.isclass(value):
            found[name] = f"class {value.__name__} {sorted(vars(value))}"
        elif not name.startswith("__"):
            found[name] = "" if name.startswith("_") else type(value).__name__  # private ones are caches: filled or not
    return found


def _rooms() -> set[str]:
    """Modules and packages of the folder: once imported, they are attributes of the package."""
    return {entry.stem for entry in (ROOT / "platform").iterdir() if not entry.name.startswith("_")}


def _called(function: Callable[[], Any]) -> str:
    try:
        return repr(function())
    except Exception as error:  # java_ver and friends may not suit this system: then both must fail alike
        return f"{type(error).__name__}: {error}"


def describe_package() -> dict[str, str]:
    """`describe` of whatever `import platform` gives where this runs."""
    assert hasattr(platform, "__path__"), f"{platform.__file__} is not the package"
    return {name: text for name, text in describe(platform).items() if name not in OURS | _rooms()}


def python(*arguments: str, cwd: Path = ROOT, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_the_package_has_every_name_and_every_answer_of_the_standard_module():
    assert describe_package() == describe(standard_module())


def test_the_package_adds_no_public_name_but_its_rooms():
    assert set(vars(platform)) - set(vars(standard_module())) - OURS - _rooms() == set()


def test_no_room_hides_a_name_of_the_standard_module():
    """Importing platform/system.py would replace the function platform.system()."""
    assert _rooms() & set(vars(standard_module())) == set()


def test_a_subprocess_with_pythonpath_gets_the_package(tmp_path: Path):
    code = "import json, tests.test_name as t; print(json.dumps(t.describe_package()))"
    told = json.loads(python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT)))
    assert told == describe(standard_module())


@pytest.mark.ray
def test_a_ray_worker_gets_the_package(ray_cluster: Any):
    told = ray_cluster.get(ray_cluster.remote(describe_package).remote())
    assert told == describe(standard_module())


def test_rooms_import_where_the_package_does():
    assert importlib.util.find_spec("platform.core.spec") is not None


def test_a_class_of_the_module_pickles_under_its_usual_name():
    uname = platform.uname()
    copy = pickle.loads(pickle.dumps(uname))
    assert copy == uname and type(copy) is type(uname)
    assert type(uname).__module__ == "platform"


@pytest.mark.parametrize("arguments", [[], ["--terse"], ["nonaliased"], ["--nonaliased"], ["terse", "nonaliased"]])
def test_python_m_platform_prints_what_pythons_own_prints(arguments: list[str], tmp_path: Path):
    ours = python("-m", "platform", *arguments)
    assert ours == python(str(STANDARD), *arguments, cwd=tmp_path)
    assert ours.strip() == platform.platform("nonaliased" not in "".join(arguments), "terse" in "".join(arguments))


def test_the_import_loads_no_more_than_the_standard_module_and_the_means_to_find_it(tmp_path: Path):
    """What an import costs is what it loads: a count holds on any machine, a stopwatch (`make bench`) does not."""
    ours = set(python("-S", "-c", IMPORT_COST).split())
    theirs = set(python("-S", "-c", IMPORT_COST, cwd=tmp_path).split())
    assert "platform" in ours
    assert ours - theirs <= MEANS


@pytest.mark.slow
@pytest.mark.parametrize("command", [[str(Path(sys.executable).with_name("pytest"))], [sys.executable, "-m", "pytest"]])
def test_pytest_finds_the_package_however_it_is_started(command: list[str], tmp_path: Path):
    if not Path(command[0]).exists():
        pytest.skip(f"no {command[0]}")
    done = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider", f"{__file__}::test_rooms_import_where_the_package_does"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
