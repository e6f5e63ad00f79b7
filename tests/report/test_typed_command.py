"""Printed commands say every key once, and hide nothing else of what was typed."""

from __future__ import annotations

import io
import shlex
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from platform.report.last_screen import print_last_screen
from platform.report.typed_command import with_settings
from tests.report.fake_sweep import TRACEBACK, FakeSweep

SWEEP = "python -m platform.sweep a.yaml"


@pytest.mark.parametrize(
    ("typed", "settings", "expected"),
    [
        ("name=mine", ["name=mine-winner"], "name=mine-winner"),
        ("budget.trials=40 train.steps=9 --smoke", ["budget.trials=1"], "train.steps=9 budget.trials=1 --smoke"),
        ("'search={a: auto}' search.b=auto", ["search={}"], "'search={}'"),
        ("search.b=auto names=x", ["search.c=auto", "name=y"], "search.b=auto names=x search.c=auto name=y"),
        ("'labels={noise: symmetric, rate: 0.4}' x=1", [], "'labels={noise: symmetric, rate: 0.4}' x=1"),
        ("'name=a b' \"data.path=/a b\"", ["name=c"], '"data.path=/a b" name=c'),
        ("--results 'my results' name=a", ["name=b"], "name=b --results 'my results'"),
    ],
)
def test_a_key_is_said_once(typed: str, settings: list[str], expected: str) -> None:
    assert with_settings(f"{SWEEP} {typed}", settings) == f"{SWEEP} {expected}"


def test_a_password_is_not_said() -> None:
    found = with_settings(f"{SWEEP} tracking=http://me:hunter2@host:5000 name=a", ["name=b"])
    assert "hunter2" not in found and found.endswith("name=b") and "name=a" not in found


@pytest.mark.parametrize("methods", [["supervised"], ["supervised", "fixmatch"]])
def test_the_last_screen_prints_no_key_twice(tmp_path: Path, methods: list[str]) -> None:
    typed = f"{SWEEP} name=mine budget.trials=2 'fixed.centre_ema=0.9' 'search={{}}' retry.failed=1 budget.studies=1"
    sweep = FakeSweep(tmp_path / "mine", methods=methods, trials=2, command=typed)
    rows = sweep.rows()
    for row in rows:
        row.outcome, row.score = "completed", 0.5
    rows[1].outcome, rows[1].error, rows[1].failures = "failed", TRACEBACK, 2
    out = Console(file=io.StringIO(), width=400)
    print_last_screen(out, replace(sweep.info, complete=set(sweep.info.studies)), rows, 1.0)
    commands = [line.strip() for line in out.file.getvalue().splitlines() if "platform.sweep" in line]  # type: ignore[attr-defined]
    assert len(commands) == 2 and any("name=mine-winner" in command for command in commands)
    for command in commands:
        keys = Counter(word.partition("=")[0] for word in shlex.split(command) if "=" in word)
        assert set(keys.values()) == {1}, command
