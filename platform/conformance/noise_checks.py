"""Checks of a label noise: what it gives, and what it depends on."""

from __future__ import annotations

import inspect

import numpy as np

from platform.conformance.suite import Failed, Skipped, Subject, check
from platform.core.errors import UserError
from platform.data.noise import corrupt
from platform.data.noise.noise_model import Noise

KIND = "noise"
COUNT = 2000
RATE = 0.4


def _toy(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """True labels [N] and images [N, 1, 8, 8] of them."""
    rng = np.random.default_rng(0)
    return np.arange(COUNT) % classes, rng.integers(0, 256, (COUNT, 1, 8, 8), dtype=np.uint8)


def _noisy(subject: Subject, classes: int = 10, rate: float = RATE, seed: int = 1) -> np.ndarray:
    labels, images = _toy(classes)
    try:
        return corrupt(labels, subject.name, rate, classes, seed, images, [f"class {c}" for c in range(classes)])
    except UserError as error:
        problem = error.problems[0]
        raise Failed(problem.message, problem.hint or "see platform/data/noise/noise_model.py") from error


@check("its docstring says which wrong label an image gets", kind=KIND)
def docs(subject: Subject) -> str | None:
    if not inspect.cleandoc(subject.cls.__doc__ or ""):
        raise Failed("the class has no docstring", '"""my_noise: which label becomes which, and whose idea it is."""')
    return None


@check("it gives a label for a label: whole numbers, one of the classes each, at any rate", kind=KIND)
def labels(subject: Subject) -> str | None:
    for classes in (2, 10):
        for rate in (0.1, RATE, 1.0):
            _noisy(subject, classes, rate)
    return None


@check("some labels are wrong afterwards", kind=KIND)
def wrong(subject: Subject) -> str | None:
    share = float((_noisy(subject) != _toy(10)[0]).mean())
    if share == 0:
        raise Failed(f"at rate {RATE} all {COUNT:,} labels are as before", "is the rate used?")
    return f"at rate {RATE} {share:.1%} are wrong"


@check("the seed decides, and nothing global", kind=KIND)
def own_generator(subject: Subject) -> str | None:
    outer = np.random.get_state()
    try:
        np.random.seed(1)
        first = _noisy(subject)
        np.random.seed(2)
        again = _noisy(subject)
    finally:
        np.random.set_state(outer)
    if (first != again).any():
        raise Failed("the same seed gives other labels", "draw from the generator `rng` that corrupt() is given")
    return None


@check("each row of transition() is a distribution", kind=KIND)
def transition(subject: Subject) -> str | None:
    if subject.cls.transition is Noise.transition:
        raise Skipped("it defines corrupt() instead")
    table = np.asarray(subject.cls().transition(10, RATE, [f"class {c}" for c in range(10)]), dtype=float)
    if table.shape != (10, 10):
        raise Failed(
            f"transition() gives {list(table.shape)} for 10 classes", "T[y, k]: the probability of k where y is true"
        )
    if (table < 0).any() or not np.allclose(table.sum(1), 1):
        sums = ", ".join(f"{total:.3f}" for total in table.sum(1))
        raise Failed(f"rows are no distributions: they sum to {sums}", "entries from 0 to 1, each row sums to 1")
    return None
