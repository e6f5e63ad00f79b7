"""A full disk: what is written waits, nothing is written by half, no event is lost."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from typing import Any

import pytest

from platform.core.errors import Problem, UserError
from platform.runner.guards import disk_guard
from platform.runner.guards.disk_guard import DiskGuard, FreeSpace, is_full
from tests.runner.sweeps import driver, load, play


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_guard, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(disk_guard, "LOOK_SECONDS", 0.0)


class Filling(FreeSpace):
    """A disk whose free space is a list, one entry per look, the last for ever."""

    def __init__(self, free: list[int], wait: float = 30.0) -> None:
        super().__init__(Path("."), 100, wait)
        self._free = free

    def free(self) -> int:
        return self._free.pop(0) if len(self._free) > 1 else self._free[0]


def full(times: int) -> Any:
    """A write that meets a full disk so many times."""
    left = [times]

    def write() -> None:
        if left[0]:
            left[0] -= 1
            raise UserError(Problem("the checkpoint cannot be written")) from OSError(errno.ENOSPC, "no space")
        written.append(1)

    written: list[int] = []
    write.written = written  # type: ignore[attr-defined]
    return write


def test_a_write_waits_for_room_and_is_made_once():
    write = full(3)
    Filling([10, 50, 99, 100]).write(write)
    assert write.written == [1]


def test_a_write_gives_up_after_its_time_with_the_disks_error():
    with pytest.raises(UserError, match="cannot be written"):
        Filling([10], wait=0.05).write(full(10**9))


def test_other_errors_are_not_waited_for():
    def broken() -> None:
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        Filling([500]).write(broken)


def test_one_that_is_asked_to_stop_does_not_hold():
    begin = time.monotonic()
    with pytest.raises(UserError):
        Filling([10]).write(full(10**9), stop=lambda: True)
    assert time.monotonic() - begin < 5


def test_what_a_full_disk_says():
    assert is_full(OSError(errno.ENOSPC, "x")) and is_full(OSError(errno.EDQUOT, "x"))
    assert is_full(RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file"))
    assert is_full(RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 128 vs 0"))
    assert not is_full(OSError(errno.EACCES, "x")) and not is_full(ValueError("x")) and not is_full(None)


def test_the_driver_holds_says_so_and_goes_on():
    said: list[str] = []
    DiskGuard(Filling([500]), said.append).on_step_begin(0, [])
    assert said == []
    DiskGuard(Filling([10, 10, 10, 500]), said.append).on_step_begin(0, [])
    assert len(said) == 2 and said[0].startswith("paused: ") and "there is room again" in said[1]
    short = DiskGuard(Filling([10], wait=0.05), said.append)
    with pytest.raises(OSError, match="MiB are free"):
        short.on_step_begin(0, [])
    assert short.failure.errno == errno.ENOSPC  # what the door answers with


@pytest.mark.parametrize("partly", [0, 7])
def test_an_event_that_meets_a_full_disk_is_written_whole_when_there_is_room(tmp_path, partly):
    book = driver(tmp_path, load(tmp_path))
    row = book.next_row()
    real, calls = book.ledger._file, []

    class Full:
        """Writes some bytes, then the disk is full, twice."""

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def write(self, data: Any) -> int:
            calls.append(len(data))
            if len(calls) in (1, 3) and partly:
                return real.write(data[:partly])
            if len(calls) <= 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real.write(data)

    before = (tmp_path / "ledger.jsonl").read_text()
    book.ledger._file = Full()  # type: ignore[assignment]
    held: list[str] = []

    def wait() -> bool:
        held.append((tmp_path / "ledger.jsonl").read_text())
        return True

    book.ledger.wait_for_room = wait
    play(book, row, [0.1, 0.2])
    lines = (tmp_path / "ledger.jsonl").read_text().splitlines()
    assert held and set(held) == {before}  # while it waits no half line stands there
    assert [json.loads(line)["event"] for line in lines[-3:]] == ["reported", "reported", "ended"]


def test_where_no_room_comes_the_event_raises_and_leaves_nothing(tmp_path):
    book = driver(tmp_path, load(tmp_path))
    row = book.next_row()
    before = (tmp_path / "ledger.jsonl").read_bytes()
    real = book.ledger._file

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def write(self, data: Any) -> int:
            real.write(data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")

    book.ledger._file = Full()  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space"):
        play(book, row, [0.1])
    assert (tmp_path / "ledger.jsonl").read_bytes() == before
