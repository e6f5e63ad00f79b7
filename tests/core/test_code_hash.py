"""A change of a file renames the rows of the methods that it can change, and no others."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from platform.core.code_hash import code_hash, imported_names, module_sources
from platform.core.registry import METHODS

NAMES = METHODS.names()


def changed_by(file: str, tree: Path) -> set[str]:
    """The methods of whose code a file of methods/ is a part: a line is added to it in a copy."""
    copy = tree / "methods"
    shutil.copytree(METHODS.folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = {name: module_sources([f"methods.{name}"], {"methods": tree}) for name in NAMES}
    with (copy / file).open("a") as opened:
        opened.write("\nA = 1\n")
    after = {name: module_sources([f"methods.{name}"], {"methods": tree}) for name in NAMES}
    return {name for name in NAMES if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "methods"),
    [
        ("layermatch/gates.py", {"layermatch", "clid_mu"}),  # clid_mu can be built on layermatch
        ("clid_mu/composition.py", {"clid_mu"}),
        ("clid_mu/__init__.py", {"clid_mu"}),
        ("mixup.py", {"mixup", "clid_mu"}),
        ("elr.py", {"elr"}),
        ("parts/centres.py", {"layermatch", "clid_mu"}),
        ("parts/clid.py", {"clid_mu"}),
        ("parts/trust.py", {"clid_mu", "l2rw", "mw_net"}),
        ("parts/meta_models.py", {"clid_mu", "mw_net"}),
        (
            "parts/second_network.py",
            {"co_teaching", "confident_learning", "dividemix", "elr_plus", "jocor", "unicon"},
        ),
        ("base.py", set(NAMES)),
        ("types.py", set(NAMES)),
    ],
)
def test_a_file_changes_the_methods_that_import_it(file: str, methods: set[str], tmp_path: Path) -> None:
    assert changed_by(file, tmp_path) == methods


def test_the_training_version_changes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: code_hash(METHODS.get(name)) for name in NAMES}
    assert len(set(before.values())) == len(NAMES)
    monkeypatch.setattr("platform.core.spec.TRAINING_VERSION", 10**6)
    after = {name: code_hash(METHODS.get(name)) for name in NAMES}
    assert not set(before.values()) & set(after.values())


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import methods.parts.ema as ema", ["methods.parts.ema"]),
        ("from methods.parts import ema", ["methods.parts", "methods.parts.ema"]),
        ("from methods.parts.ema import ModelEMA", ["methods.parts.ema", "methods.parts.ema.ModelEMA"]),
        ("def f():\n    from methods import ranges", ["methods", "methods.ranges"]),
        ("from .gates import Gate", ["methods.layermatch.gates", "methods.layermatch.gates.Gate"]),
        ("from . import gates", ["methods.layermatch", "methods.layermatch.gates"]),
        ("from ..parts import ema", ["methods.parts", "methods.parts.ema"]),
    ],
)
def test_forms_of_an_import(line: str, names: list[str]) -> None:
    assert list(imported_names(line, "methods.layermatch")) == names


def test_packages_on_the_way_count(tmp_path: Path) -> None:
    for file, text in {
        "a/__init__.py": "",
        "a/b/__init__.py": "from a import d",
        "a/b/c.py": "import torch\nimport a.gone",
        "a/d.py": "",
        "a/e.py": "",
    }.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    assert set(module_sources(["a.b.c"], {"a": tmp_path})) == {"a", "a.b", "a.b.c", "a.d"}


class TestPlugins:
    def test_its_text_and_what_it_imports(self) -> None:
        text = "from methods.base import Method\n\nclass Mine(Method):\n    pass\n"
        texts = [text, text, text + "A = 1\n", text + "import methods.parts.clid\n"]
        first, same, longer, more = (code_hash(METHODS.from_source(t, "mine.py"), t) for t in texts)
        assert first == same
        assert len({first, longer, more}) == 3

    def test_an_installed_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "installed_one"
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "part.py").write_text("A = 1\n")
        text = "from installed_one.part import A\nfrom methods.base import Method\n\nclass Mine(Method):\n    pass\n"
        (folder / "mine.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        hashes = set()
        for number in (1, 2):
            (folder / "part.py").write_text(f"A = {number}\n")
            module = ModuleType("installed_one.mine")
            module.__file__ = str(folder / "mine.py")
            monkeypatch.setitem(sys.modules, module.__name__, module)
            exec(text, module.__dict__)
            hashes.add(code_hash(module.__dict__["Mine"]))
        assert len(hashes) == 2
