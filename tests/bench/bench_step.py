"""How many steps a second does a trial make, and what do the malloc settings of its worker bring?

    python -m tests.bench.bench_step [--runs N] [--device cpu|cuda] [CASE ...]

    digits    FixMatch with small_cnn on 8 x 8 digits: 16 labelled and 7 x 16 unlabelled images, 240 views a step
    wide      FixMatch with wrn_28_2 on 32 x 32 images: 8 labelled and 7 x 8 unlabelled images, 120 views a step
    large     small_cnn on 8 x 8 digits, supervised, 960 images a step

Each run is a process of its own with one thread, with and without the settings in turn, so that whatever else the
machine does meets both alike. A row is the median over n runs and their range; a run is the mean over its steps after
a warm-up. "views" counts every view that passes through the network. "cpu" is the process's own processor time, which a
busy machine blurs less than the clock on the wall (on a GPU it says little).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform.training.environment import MALLOC, worker_environment

if TYPE_CHECKING:
    from platform.training.trial import Trial


@dataclass(frozen=True)
class Case:
    method: str
    model: str
    side: int
    channels: int
    batch_size: int
    steps: int
    views: int


CASES = {
    "digits": Case("fixmatch", "small_cnn", 8, 1, batch_size=16, steps=60, views=240),
    "wide": Case("fixmatch", "wrn_28_2", 32, 3, batch_size=8, steps=4, views=120),
    "large": Case("supervised", "small_cnn", 8, 1, batch_size=960, steps=20, views=960),
}


def make_trial(case: Case, settings: dict[str, Any], device: str, hyper: dict[str, Any], tests: int) -> Trial:
    """A trial on uniform random images: what a step costs does not depend on what they show. tests: test images."""
    import numpy as np

    from platform.core.registry import METHODS
    from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
    from platform.data.dataset import Augment, Dataset, LabelPlan, Split
    from platform.training.trial import Trial

    rng = np.random.default_rng(0)

    def split(count: int) -> Split:
        images = rng.integers(0, 256, (count, case.channels, case.side, case.side), dtype=np.uint8)
        return Split(images, np.arange(count) % 10)

    names = tuple(map(str, range(10)))
    dataset = Dataset("noise", names, split(1500), split(tests), Augment(flip=False, pad=case.side // 8), "noise")
    places = np.arange(1500)
    given = dataset.train.labels
    plan = LabelPlan(places[:1000], places[:1400], places[1400:], given, given, "noise")
    method = METHODS.get(case.method)
    spec = TrialSpec(
        method=case.method,
        hyper=method.Hyper(**hyper).model_dump(),
        model=case.model,
        train=TrainSettings.model_validate({"batch_size": case.batch_size, "evaluations": 1} | settings),
        data=DataSettings.model_validate({}),
        labels=LabelSettings.model_validate({}),
        seeds=dict.fromkeys(AXES, 0),
        code="",
    )
    return Trial(spec, dataset, plan, method, device)


def measure(case: Case, device: str) -> tuple[float, float]:
    """Seconds a step by the clock and of processor time, in this process."""
    import torch

    torch.set_num_threads(1)
    warm_up = max(2, case.steps // 4)
    trial = make_trial(case, {"steps": warm_up + case.steps}, device, {}, tests=10)
    trial.advance(warm_up)
    wall, cpu = time.perf_counter(), time.process_time()
    trial.advance(case.steps)
    return (time.perf_counter() - wall) / case.steps, (time.process_time() - cpu) / case.steps


def in_a_process(case: str, device: str, kept: bool) -> tuple[float, float]:
    environment = {k: v for k, v in os.environ.items() if k not in MALLOC} | worker_environment(1)
    if not kept:
        environment = {k: v for k, v in environment.items() if k not in MALLOC}
    command = [sys.executable, "-m", "tests.bench.bench_step", "--inside", case, "--device", device]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    wall, cpu = json.loads(done.stdout)
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all by default")
    parser.add_argument("--runs", type=int, default=5, help="processes per row")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--inside", choices=CASES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(measure(CASES[chosen.inside], chosen.device)))
        return
    unknown = [name for name in chosen.cases if name not in CASES]
    if unknown:
        parser.error(f"no such case: {unknown[0]}; one of {', '.join(CASES)}")
    heads = f"{'ms/step, median [range]':26} {'cpu ms/step':26}"
    print(f"{'case':8} {'malloc':8} {'steps/s':>8} {'views/s':>8}   {heads} n")
    for name in chosen.cases or CASES:
        times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for _ in range(chosen.runs):
            for kept in times:
                times[kept].append(in_a_process(name, chosen.device, kept))
        for kept, pairs in times.items():
            wall, cpu = ([pair[column] for pair in pairs] for column in (0, 1))
            middle = statistics.median(wall)
            rate = f"{1 / middle:8.2f} {CASES[name].views / middle:8.0f}"
            spreads = f"{_spread(wall):26} {_spread(cpu):26}"
            print(f"{name:8} {'kept' if kept else 'default':8} {rate}   {spreads} {len(pairs)}", flush=True)


def _spread(seconds: list[float]) -> str:
    return f"{1e3 * statistics.median(seconds):.1f} [{1e3 * min(seconds):.1f}, {1e3 * max(seconds):.1f}]"


if __name__ == "__main__":
    main()
