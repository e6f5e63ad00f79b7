"""What SECURITY.md and docs/threats.md say, as far as the code can be asked for it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS_CODE = re.compile(r"(cloud)?pickle\.(loads?|Unpickler)|yaml\.(unsafe_|full_)?load(_all)?|eval")
THREATS = (ROOT / "docs" / "threats.md").read_text()


def calls() -> Iterator[tuple[Path, str, ast.Call]]:
    """Every call in the program, with the name of what is called: torch.load, np.load."""
    for path in [*(ROOT / "platform").rglob("*.py"), *(ROOT / "methods").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path, ast.unparse(node.func), node


def said(node: ast.Call, name: str) -> object:
    return next((ast.literal_eval(word.value) for word in node.keywords if word.arg == name), None)


def test_files_are_read_as_data() -> None:
    found = {"torch.load": 0, "np.load": 0}
    for path, name, node in calls():
        assert not RUNS_CODE.fullmatch(name), path
        if name == "torch.load":
            assert said(node, "weights_only") is True, path
        if name == "np.load" and said(node, "mmap_mode") is None:
            assert said(node, "allow_pickle") is False, path
        found[name] = found.get(name, 0) + 1
    assert found["torch.load"] and found["np.load"]


def test_what_the_pages_name_is_there() -> None:
    security = (ROOT / "SECURITY.md").read_text()
    assert "docs/threats.md" in security and "Report a vulnerability" in security
    for name in re.findall(r"`((?:platform|tests|cluster)/[\w./]+\.(?:py|yaml))`", THREATS + security):
        assert (ROOT / name).is_file(), name
