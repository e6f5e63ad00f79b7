"""Runs measure.py as the sweep would run trials: as many at once as there are slots, each with a slot's threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from statistics import fmean
from typing import Any

from platform.dry_run.measure import Cost
from platform.sweepfile import Sweep
from platform.training.environment import python_path, worker_environment
from platform.training.slots import Slots

MOST_AT_ONCE = 4
"""Processes that measure side by side: more of them say no more about how trials slow each other down."""

SECONDS = (1.0, 3.0)
"""The least and the most that is spent on each method; less than the most where there are many methods."""

PATIENCE = 120.0
"""Seconds for a process beyond what it is to measure: imports and data on a busy machine."""


def calibrate(sweep: Sweep, slots: Slots) -> list[Cost]:
    """Measure what a trial of each method costs with `slots.count` at once. A method that fails has only its error."""
    low, high = SECONDS
    seconds = max(low, min(high, 30.0 / len(sweep.methods)))
    request = {"resolved": sweep.resolved(), "path": sweep.path, "device": slots.device}
    request |= {"threads": max(1, int(slots.cpu)), "seconds": seconds}
    count = max(1, min(MOST_AT_ONCE, slots.count))
    running = [_start(request | {"seed": seed}, slots) for seed in range(count)]
    patience = PATIENCE + 4 * seconds * len(sweep.methods)
    found = [cost for process in running for cost in _answer(process, patience)]
    return [_merged(entry.name, [cost for cost in found if cost.method in (entry.name, "")]) for entry in sweep.methods]


def _start(request: dict[str, Any], slots: Slots) -> subprocess.Popen[str]:
    environment = os.environ | worker_environment(max(1, int(slots.cpu))) | {"PYTHONPATH": python_path()}
    words = [sys.executable, "-P", "-m", "platform.dry_run.measure"]  # -P: not what lies in the folder one stands in
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
    assert process.stdin is not None
    process.stdin.write(json.dumps(request))
    process.stdin.close()
    process.stdin = None
    return process


def _answer(process: subprocess.Popen[str], patience: float) -> list[Cost]:
    try:
        out, errors = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
        errors += f"\nnothing measured within {patience:.0f} s"
    costs = [Cost(**json.loads(line)) for line in out.splitlines() if line.startswith("{")]
    last = errors.strip().splitlines()[-1] if errors.strip() else "it ended without an answer"
    return costs if process.returncode == 0 else [*costs, Cost("", last)]


def _merged(method: str, costs: list[Cost]) -> Cost:
    """Merge the costs that the processes measured: all points, means of everything else."""
    good = [cost for cost in costs if cost.steps]
    if not good:
        error = next((cost.error for cost in costs if cost.error), "the measuring process failed")
        return Cost(method, error)
    points: dict[str, Any] = {
        name: [v for cost in good for v in getattr(cost, name)] for name in ("steps", "evaluations")
    }
    rest = [field.name for field in fields(Cost) if field.name not in ("method", "error", *points)]
    means: dict[str, Any] = {name: fmean(getattr(cost, name) for cost in good) for name in rest}
    return Cost(method, **points, **means)
