"""The sweep's folder: a running sweep keeps its own, one that came to nothing leaves none."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from platform.core.errors import UserError
from platform.core.ledger import Ledger
from platform.runner.results_place import prepare_folder
from tests.runner.door import ROOT

HOLDER = """
import sys
from pathlib import Path
from platform.core.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), {})
print("held", flush=True)
sys.stdin.read()
"""


def test_fresh_leaves_the_folder_of_a_running_sweep_where_it_is(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "trials.csv").write_text("key\n")
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError) as caught, prepare_folder(folder, 1, fresh=True):
            pass
        text = str(caught.value)
        assert "another sweep is running" in text and f"process {other.pid}" in text and "stays where it is" in text
        assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep"]
        assert (folder / "trials.csv").read_text() == "key\n"
    finally:
        other.kill()
        other.communicate()
    with prepare_folder(folder, 1, fresh=True):  # it is over, even by a kill
        assert not list(folder.iterdir())
        assert (tmp_path / "sweep.1" / "trials.csv").exists()


def test_who_opened_the_ledger_before_the_folder_was_moved_cannot_go_on_with_it(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    Ledger(folder, {}).close()
    with prepare_folder(folder, 1, fresh=True):
        with pytest.raises(UserError, match="another sweep is running"):
            Ledger(tmp_path / "sweep.1", {})
        Ledger(folder, {}).close()
    Ledger(tmp_path / "sweep.1", {}).close()


def test_a_start_that_failed_is_undone(tmp_path):
    folder = tmp_path / "sweep"
    with prepare_folder(folder, 1, fresh=False) as place:
        ledger = Ledger(folder, {})
        place.undo()
        ledger.close()
    assert os.listdir(tmp_path) == []
    folder.mkdir()
    (folder / "mine").touch()
    with prepare_folder(folder, 1, fresh=False) as place:
        place.undo()  # it was there before
    assert os.listdir(folder) == ["mine"]
    with prepare_folder(folder, 1, fresh=True) as place:
        Ledger(folder, {}).close()
        place.undo()
    assert os.listdir(tmp_path) == ["sweep"] and os.listdir(folder) == ["mine"]
