"""What killed drivers left behind is removed at the next start of the same sweep; nothing else ever is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from platform.runner.guards import scratch, stack_dump
from platform.runner.guards.ray_processes import owner_value, start_time


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "t"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.setattr(scratch, "_parent", lambda: str(place))
    return place


def left_behind(place: Path, owner: str) -> Path:
    place.mkdir()
    (place / "OWNER").write_text(owner)
    (place / "session" / "logs").mkdir(parents=True)
    return place


def test_the_folder_exists_inside_the_block_and_names_its_owner(temporary, tmp_path):
    with scratch.scratch_folder(tmp_path / "sweep") as place:
        assert place.parent == temporary and (place / "OWNER").read_text() == owner_value(tmp_path / "sweep")
        assert place.stat().st_mode & 0o077 == 0
        (place / "session").mkdir()
    assert not list(temporary.iterdir())


def test_only_folders_of_dead_drivers_of_this_sweep_are_removed(temporary, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    dead = f"{process.pid}|{start_time(process.pid) or '1'}"
    process.wait()
    mine, other = tmp_path / "mine", tmp_path / "mine2"
    mine.mkdir()
    gone = left_behind(temporary / "kurabe-1", f"{mine.resolve()}|{dead}")
    kept = [
        left_behind(temporary / "kurabe-2", f"{other.resolve()}|{dead}"),
        left_behind(temporary / "kurabe-3", owner_value(mine)),  # its driver lives
        left_behind(temporary / "kurabe-4", f"{mine.resolve()}|nonsense"),
        left_behind(temporary / "others-5", f"{mine.resolve()}|{dead}"),
    ]
    scratch.remove_abandoned(mine)
    assert not gone.exists() and all(place.exists() for place in kept)


def test_half_written_files_in_the_results_are_removed_and_no_others(temporary, tmp_path):
    folder = tmp_path / "sweep"
    (folder / "checkpoints").mkdir(parents=True)
    half = [folder / ".trials.csv.0a1b2c3d.new", folder / "checkpoints" / ".KEY.pt.89abcdef.new"]
    whole = [folder / "trials.csv", folder / "checkpoints" / "KEY.pt", folder / "a.new", folder / ".mine.new"]
    for path in half + whole:
        path.touch()
    scratch.remove_abandoned(folder)
    assert not any(path.exists() for path in half) and all(path.exists() for path in whole)


def test_a_temporary_folder_with_a_long_name_is_none_for_sockets(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/tmp/" + "x" * 60)
    assert scratch._parent() == "/tmp"
    monkeypatch.setattr("tempfile.tempdir", "/var/tmp")
    assert scratch._parent() == "/var/tmp"


REGISTERED = """
import sys, time
from platform.runner.guards import stack_dump
def here_it_waits():
    print(path, flush=True)
    time.sleep(100)
path = stack_dump.register()
here_it_waits()
"""


def test_stacks_are_read_from_the_process_and_leave_no_file(temporary, monkeypatch):
    process = subprocess.Popen(
        [sys.executable, "-c", REGISTERED, "ray::Trial"],
        env={"TMPDIR": str(temporary), "PATH": "/usr/bin"},
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        path = process.stdout.readline().strip()
        assert path, "the process did not start"
        for _ in range(2):
            stacks = stack_dump.ask(process.pid, path, seconds=20)
            assert stacks.count("here_it_waits") == 1, stacks
        assert not list(temporary.iterdir())
    finally:
        process.kill()
        process.wait()
