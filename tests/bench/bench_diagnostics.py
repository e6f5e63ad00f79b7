"""What do diagnostics cost? Steps with `diagnostics: off` and `cheap`, and an evaluation with each level.

    python -m tests.bench.bench_diagnostics [--runs N] [--device cpu|cuda] [CASE ...]

The cases are those of bench_step. Off and cheap take turns, step by step, in one process, so that whatever else the
machine does meets both alike; times are processor time on a CPU, and by the clock, after waiting, on a GPU.
One step in 32 is watched. "more" is (31 plain + watched) / 32, relative to a step without diagnostics, where plain and
watched are the medians of the differences of neighbouring steps; brackets: 95 % bootstrap interval over n pairs.
Evaluations: median seconds of 3 whole reports (512 test, 100 validation images).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from methods.parts.watch import EVERY
from platform.core.registry import METHODS
from platform.training.trial import Trial
from tests.bench.bench_step import CASES, Case, make_trial
from tests.bench.shared import read_arguments

LEVELS = ("off", "cheap", "full")


def looking(case: Case, level: str, device: str) -> Trial:
    named = METHODS.get(case.method).Hyper.model_fields
    hyper = {"threshold": 0.2} if "threshold" in named else {}  # some guesses count
    return make_trial(case, {"steps": 10**6, "compile": "off", "diagnostics": level}, device, hyper, tests=512)


def step(trial: Trial, clock: Callable[[], float]) -> float:
    begin = clock()
    trial.advance(1)  # waits for a GPU at its end
    return clock() - begin


def measure(case: Case, device: str, runs: int) -> None:
    trials = {level: looking(case, level, device) for level in LEVELS}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for level in ("off", "cheap"):
        trials[level].advance(EVERY)
    off, extra = [], []
    for number in range(runs * EVERY):
        order = ("off", "cheap") if number % 2 else ("cheap", "off")
        took = {level: step(trials[level], clock) for level in order}
        off.append(took["off"])
        extra.append(took["cheap"] - took["off"])
    base, pairs = statistics.median(off), np.array(extra).reshape(runs, EVERY)
    watched, plain = pairs[:, 0], pairs[:, 1:].ravel()
    rng = np.random.default_rng(0)
    draws = [_share(rng.choice(watched, len(watched)), rng.choice(plain, len(plain)), base) for _ in range(2000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    print(
        f"    step: off {1e3 * base:.2f} ms, cheap {_share(watched, plain, base):+.2f} % [{low:+.2f}, {high:+.2f}] more"
        f" (plain {1e6 * np.median(plain):+.0f} us, watched {1e6 * np.median(watched):+.0f} us), n = {pairs.size}",
        flush=True,
    )
    trials["full"].advance(2)
    seconds = {level: [_evaluation(trials[level]) for _ in range(3)] for level in LEVELS}
    print("    evaluation: " + ", ".join(f"{level} {statistics.median(s):.3f} s" for level, s in seconds.items()))


def _share(watched: np.ndarray, plain: np.ndarray, base: float) -> float:
    """Per cent of a step."""
    return 100 * float((EVERY - 1) * np.median(plain) + np.median(watched)) / EVERY / base


def _evaluation(trial: Trial) -> float:
    begin = time.perf_counter()
    trial._report()
    return time.perf_counter() - begin


def main() -> None:
    chosen = read_arguments(__doc__, CASES, ("digits",), 10, "times 32 pairs of steps")
    torch.set_num_threads(1)
    for name in chosen.cases:
        case = CASES[name]
        print(f"{name}: {case.method}, {case.model}, {case.views} views a step, {chosen.device}", flush=True)
        measure(case, chosen.device, chosen.runs)


if __name__ == "__main__":
    main()
