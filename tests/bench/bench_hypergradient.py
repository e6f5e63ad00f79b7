"""What does a meta-update cost, by scheme of the meta-gradient? Prints a table in Markdown.

    python -m tests.bench.bench_hypergradient [--runs N] [--device cpu|cuda] [CASE ...] > results/hypergradient.md

    digits    small_cnn on 8 x 8 images, 64 labelled and 64 meta images a step
    wide      wrn_28_2 on 32 x 32 images, 8 labelled and 8 meta images a step
    vit       timm's smallest Vision Transformer on 32 x 32 images, 8 and 8

F is one forward pass of the batch, counted in floating-point operations of matrix products and convolutions. The ratio
is the time of a step over that of a supervised step on the same images: the median over n rounds, each of which times
all schemes one after the other, so that whatever else the machine does meets all alike; in brackets the range. On a CPU
the time is the processor's, one thread; on a GPU the clock's. "every 5" is a meta-update at every fifth step only.
cosine: between a scheme's meta-gradient and the exact one, float32, random images, after 20 supervised steps.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import platform
from methods.base import Batch, Method, Setup, Stream
from methods.parts.hypergradient import SCHEMES
from platform.core.registry import METHODS
from platform.models import build
from tests.bench.__main__ import processor
from tests.bench.shared import read_arguments


@dataclass(frozen=True)
class Case:
    model: str
    shape: tuple[int, int, int]
    images: int
    steps: int


CASES = {
    "digits": Case("small_cnn", (1, 8, 8), 64, steps=10),
    "wide": Case("wrn_28_2", (3, 32, 32), 8, steps=1),
    "vit": Case("timm:vit_tiny_patch16_224", (3, 32, 32), 8, steps=1),
}
CLASSES = 10


def make(case: Case, device: torch.device, scheme: str | None, every: int = 1) -> tuple[Method, torch.optim.Optimizer]:
    """clid_mu with a scheme, or supervised."""
    model = build(case.model, case.shape, CLASSES, 0).to(device)
    setup = Setup(
        num_classes=CLASSES,
        steps=10_000,
        num_labelled=1000,
        num_unlabelled=0,
        num_train=1000,
        device=device,
        seed=0,
        make_model=lambda _: model,
        make_optimizer=lambda _: optimizer,
        amp=device.type == "cuda",
        diagnostics=False,
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
    found = METHODS.get("supervised" if scheme is None else "clid_mu")
    values: dict[str, Any] = (
        {} if scheme is None else {"hypergradient": scheme, "every": every, "meta_batch_size": case.images}
    )
    return found(model, found.Hyper(**values), setup).to(device).train(), optimizer


def batches(case: Case, device: torch.device) -> Batch:
    """Noise: the time does not depend on what is seen."""
    generator = torch.Generator(device).manual_seed(0)

    def stream() -> Stream:
        x = torch.randn(case.images, *case.shape, generator=generator, device=device)
        y = torch.randint(CLASSES, (case.images,), generator=generator, device=device)
        return Stream(("weak",), (x,), y, y, torch.arange(case.images, device=device))

    return Batch(stream(), None, stream(), step=0, progress=0.0)


def run(method: Method, optimizer: torch.optim.Optimizer, batch: Batch, first: int, steps: int) -> float:
    """Seconds a step."""
    cuda = batch.labelled.x.device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    if cuda:
        torch.cuda.synchronize()
    begin = clock()
    for step in range(first, first + steps):
        method.step(dataclasses.replace(batch, step=step), optimizer)
    if cuda:
        torch.cuda.synchronize()
    return (clock() - begin) / steps


def flops(method: Method, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    with FlopCounterMode(display=False) as counter:
        method.step(batch, optimizer)
    return float(counter.get_total_flops())


def forward_flops(method: Method, batch: Batch) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        method.model(batch.labelled.x)
    return float(counter.get_total_flops())


def cosines(case: Case, batch: Batch, device: torch.device) -> dict[str, float]:
    """Of each scheme's meta-gradient and the exact one, at the same weights."""
    supervised, optimizer = make(case, device, None)
    run(supervised, optimizer, batch, 0, 20)
    state, found = supervised.model.state_dict(), {}
    for scheme in SCHEMES:
        method, optimizer = make(case, device, scheme)
        method.model.load_state_dict(state)
        method.step(batch, optimizer)
        phi = [p.grad for p in method.get_submodule("weighting").parameters()]
        found[scheme] = torch.cat([g.flatten() for g in phi if g is not None]).double()
    exact = found["exact_reverse"]
    return {name: torch.nn.functional.cosine_similarity(exact, g, dim=0).item() for name, g in found.items()}


def measure(case: Case, runs: int, device: torch.device) -> list[tuple[str, ...]]:
    batch = batches(case, device)
    rows = {"supervised": make(case, device, None)} | {name: make(case, device, name) for name in SCHEMES}
    units = forward_flops(rows["supervised"][0], batch)
    counted = {name: flops(*row, batch) / units for name, row in rows.items()}
    alike = cosines(case, batch, device)
    rows |= {f"{name}, every 5": make(case, device, name, every=5) for name in ("exact_reverse", "exact_forward")}
    times: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(runs + 1):
        for name, row in rows.items():
            steps = max(5, case.steps) if "every" in name else case.steps
            took = run(*row, batch, 1 if turn == 0 else 0, steps)
            if turn:  # the first turn warms up
                times[name].append(took)
    lines = []
    for name in rows:
        ratios = [mine / base for mine, base in zip(times[name], times["supervised"], strict=True)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        work = f"{counted[name]:.1f}" if name in counted else ""
        cosine = f"{alike[name]:.4f}" if name in alike else ""
        lines.append((name, work, f"{1e3 * statistics.median(times[name]):.1f}", spread, cosine, f"{runs}"))
    return lines


def main() -> None:
    chosen = read_arguments(__doc__, CASES, tuple(CASES), 7, "rounds")
    if chosen.device == "cpu":
        torch.set_num_threads(1)
    device = torch.device(chosen.device)
    place = torch.cuda.get_device_name() if device.type == "cuda" else f"one thread of {processor()}"
    versions = (
        f"torch {torch.__version__}, timm {importlib.metadata.version('timm')}, Python {platform.python_version()}"
    )
    print("# Cost of a step of CLID-MU, by scheme of the meta-gradient\n")
    command = " ".join(["python -m tests.bench.bench_hypergradient", *sys.argv[1:]])
    print(f"`{command}` on {place}; {versions}.\n")
    print((__doc__ or "").partition("\n\n")[2].partition("\n\n")[2].partition("\n\n")[2].strip() + "\n", flush=True)
    for name in chosen.cases:
        case = CASES[name]
        print(f"## {name}: {case.model}, {case.images} + {case.images} images of {' x '.join(map(str, case.shape))}\n")
        print("| scheme | F | ms a step | times supervised | cosine | n |\n|---|---|---|---|---|---|")
        for row in measure(case, chosen.runs, device):
            print(f"| {' | '.join(row)} |", flush=True)
        print()


if __name__ == "__main__":
    main()
