"""Measures what a trial of each method costs: a few steps, evaluations and a checkpoint, in a process like a worker's.

    python -m platform.dry_run.measure < request.json          one JSON line per method

The request: {resolved, path, device, threads, seconds, seed}. Used by calibrate.py, which starts as many of these at
once as there will be trials at once, since they slow each other down.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from methods.ranges import Range
from platform.sweepfile.checked_sweep import Study
from platform.sweepfile.loading import load_plain

POINTS = 8
"""Configurations that are tried at most: trial 0 and others drawn from the space."""

PHASES = (0.1, 0.5, 0.9)
"""Where in a trial steps are timed: many methods start gently, or change on the way."""


@dataclass
class Cost:
    """The cost of one method, in seconds and bytes. steps and evaluations: one mean per configuration tried."""

    method: str
    error: str = ""  # why nothing could be measured
    steps: list[float] = field(default_factory=list)
    evaluations: list[float] = field(default_factory=list)
    begin: float = 0.0  # building a trial, and what its first two steps take more than others
    first: float = 0.0  # what the first evaluation takes more than others
    save: float = 0.0  # writing a checkpoint
    checkpoint: int = 0  # bytes
    report: int = 0  # bytes of an evaluation's values as JSON
    metrics: int = 0  # of an evaluation
    ready: float = 0.0  # from the start of the process until it had made its very first steps


def measure(study: Study, data: Any, plan: Any, device: str, seconds: float, seed: int) -> Cost:
    """Measure trial 0 (seed 0) and as many others as fit into about `seconds`; at least one."""
    from platform.training.trial import Trial

    cost, generator, end = Cost(study.method.name), random.Random(seed), time.perf_counter() + seconds
    for number in range(POINTS):
        if cost.steps and time.perf_counter() > end:
            break
        try:
            params = study.start if number + seed == 0 else draw(study, generator)
            begin = time.perf_counter()
            trial = Trial(study.resolve(params), data, plan, study.method.cls, device=device)
            _measure_one(trial, cost, begin, seconds / 4)
        except Exception as error:  # a point that its method refuses also fails in the sweep
            cost.error = f"{type(error).__name__}: {error}"
    if cost.steps:
        cost.error = ""
    return cost


def _warm_up(studies: list[Study], data: Any, plan: Any, device: str) -> None:
    """Do once what is slow only once in a process: first kernels, imports within them."""
    for study in studies[:1]:
        with contextlib.suppress(Exception):  # an error is reported where it is measured
            measure(study, data, plan, device, 0.0, 0)


def _measure_one(trial: Any, cost: Cost, begin: float, seconds: float) -> None:
    from platform.core.rungs import evaluation_steps

    last = trial.spec.train.steps
    places = evaluation_steps(last, trial.spec.train.evaluations)
    _timed_steps(trial, 0, 2)
    begun = time.perf_counter() - begin
    timed = [_timed_steps(trial, int(phase * last), count=0, seconds=seconds / len(PHASES)) for phase in PHASES]
    step = sum(took for _, took in timed) / max(1, sum(count for count, _ in timed))
    first, (second, report) = _evaluation(trial, places[0], step)[0], _evaluation(trial, places[len(places) // 2], step)
    cost.steps.append(step)
    cost.evaluations.append(second)
    cost.begin = max(0.0, begun - 2 * step)
    cost.first = max(0.0, first - second)
    if not cost.checkpoint:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trial.pt"
            start = time.perf_counter()
            trial.save(path)
            cost.save, cost.checkpoint = time.perf_counter() - start, path.stat().st_size
        cost.report, cost.metrics = len(json.dumps(report)), len(report)


def _timed_steps(trial: Any, at: int, count: int, seconds: float = 0.0) -> tuple[int, float]:
    """Train from step `at` on: `count` steps, or for about `seconds`, one at least. (steps, seconds they took)

    A jump may make a method catch up (DivideMix fits its mixture anew): where there is room, that step is not timed.
    """
    trial.step = min(at, trial.spec.train.steps - 1)
    if not count and trial.step + 2 < trial.spec.train.steps:
        trial.advance(1)
    made, took, chunk = 0, 0.0, count or 1
    while made < (count or 1) or (not count and took < seconds):
        before, start = trial.step, time.perf_counter()
        trial.advance(chunk)
        took += time.perf_counter() - start
        made += trial.step - before
        if trial.step >= trial.spec.train.steps or trial.step == before:
            break
        chunk = 1 if count else max(1, min(64, int(made * (seconds - took) / took)))
    return made, took


def _evaluation(trial: Any, at: int, step: float) -> tuple[float, dict[str, float]]:
    """Seconds of the evaluation at step `at`, and what it reports."""
    trial.step, trial.outcome = at - 1, None
    start = time.perf_counter()
    report = next(trial.reports())
    return max(0.0, time.perf_counter() - start - step), {k: float(v) for k, v in report.metrics.items()}


def draw(study: Study, generator: random.Random) -> dict[str, Any]:
    """A configuration as a random search proposes it."""
    params: dict[str, Any] = {}
    for key, entry in study.space.items():
        if study.is_active(key, params):
            params[key] = _value(entry.range, generator)
    return params


def _value(range_: Range, generator: random.Random) -> Any:
    if range_.kind == "choice":
        return generator.choice(range_.arguments)
    part = generator.random()
    low, high = range_.low, range_.high
    value: Any = range_.nearest(low * (high / low) ** part if range_.log else low + part * (high - low))
    return int(value) if range_.integer else value


def main() -> None:
    import torch

    from platform.data import open_dataset
    from platform.data.label_plan import make_plan

    request = json.load(sys.stdin)
    torch.set_num_threads(max(1, int(request["threads"])))
    sweep = load_plain(request["resolved"], request["path"])
    studies = [study for study in sweep.studies() if study.index == 0]
    data = open_dataset(sweep.data, studies[0].seeds["data"])
    plan = make_plan(data, sweep.labels, studies[0].seeds)
    _warm_up(studies, data, plan, request["device"])
    ready = time.time() - psutil.Process().create_time()
    for study in studies:
        cost = measure(study, data, plan, request["device"], request["seconds"], request["seed"])
        cost.ready = ready
        print(json.dumps(asdict(cost)), flush=True)


if __name__ == "__main__":
    main()
