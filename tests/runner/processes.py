"""Sweeps as processes that are disturbed: start one, wait for what it wrote, look at what runs below it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from tests.runner.door import ROOT, command

T = TypeVar("T")


def start(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    """The door in a session of its own, both outputs in one."""
    return subprocess.Popen(
        command(*words),
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(what: Callable[[], T], seconds: float = 120) -> T:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


def events(ledger: Path) -> list[dict[str, Any]]:
    """Whole lines of a ledger; none where there is no ledger yet."""
    if not ledger.exists():
        return []
    return [json.loads(line) for line in ledger.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def count(ledger: Path, kind: str) -> int:
    return sum(event["event"] == kind for event in events(ledger))


def below(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; psutil knows a process by its creation time, too."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
