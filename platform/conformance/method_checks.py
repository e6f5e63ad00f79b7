"""Checks of a method that take milliseconds: on a toy model in double precision, or of its source."""

from __future__ import annotations

import copy
import inspect
import io
import math
import random
import re
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from methods.base import Method
from methods.ranges import Range
from platform.conformance.no_sync import HostSync, NoHostSync
from platform.conformance.suite import Failed, Skipped, Subject, check, own_lines
from platform.conformance.toy import ToyBatches, ToyModel, make_method, make_optimizer, train

SOURCE = re.compile(
    r"arxiv|doi[:. ]|https?://|\bet al\b|\([A-Z][^()]*, \d{4}|\b(ours|our own|textbook|folklore)\b", re.IGNORECASE
)


@check("its docstring says what it minimises, whose idea it is and when to use it; every hyper-parameter has help")
def docs(subject: Subject) -> str | None:
    doc = inspect.cleandoc(subject.cls.__doc__ or "")
    first, wrong = doc.partition("\n")[0], []
    if not doc:
        wrong.append("the class has no docstring")
    elif not first.endswith(".") or len(first) > 119:
        wrong.append(f"its first line is no short sentence that ends in a full stop: {first!r}")
    if doc and "=" not in doc:
        wrong.append("the docstring has no equation of the loss")
    if doc and not SOURCE.search(doc):
        wrong.append("the docstring names no source")
    if doc and "When:" not in doc:
        wrong.append("the docstring does not say when to use the method")
    silent = [name for name, info in subject.cls.Hyper.model_fields.items() if not info.description]
    wrong += [f"the hyper-parameter '{name}' has no help" for name in silent]
    if wrong:
        advice = (
            'in the class: """One sentence (Name, year, arXiv 0000.00000).\\n\\nL = ...  When: ...""" (or: Source: '
            'ours, textbook);\nin Hyper: name: float = hyper(default, search=..., help="...")'
        )
        raise Failed("; ".join(wrong), advice)
    lines = len(subject.file.read_text().splitlines()) if subject.file.is_file() else 0
    return f"{lines} lines" + (": can it be said in fewer? a simple method takes 40" if lines > 120 else "")


@check("its hyper-parameters have defaults, and both ends of every declared range train a step")
def ranges(subject: Subject) -> str | None:
    spans = subject.cls.search_ranges()
    try:
        subject.cls.Hyper()
    except ValueError as error:
        raise Failed(f"Hyper() fails: {_first_problem(error)}", "give every hyper-parameter a default") from error
    tried = 0
    for key, span in spans.items():
        for value in _ends(span):
            _one_step(subject, key, value)
            tried += 1
    return f"{len(spans)} ranges, {tried} ends"


def _one_step(subject: Subject, key: str, value: Any) -> None:
    advice = f"narrow search= of '{key}' in Hyper, or make the method stand {key}={value}"
    try:
        method = make_method(subject.cls, **{key: value})
    except ValueError as error:
        raise Failed(f"{key}={value!r}, an end of its range, is refused: {_first_problem(error)}", advice) from error
    try:
        losses = train(method, ToyBatches(method, batch_size=4), make_optimizer(method.model), last=1)
    except Exception as error:
        raise Failed(f"{key}={value!r}, an end of its range: {own_lines(error, subject.file)}", advice) from error
    bad = [name for step in losses for name, loss in step.items() if not math.isfinite(loss)]
    if bad:
        raise Failed(f"with {key}={value!r}, an end of its range, the loss '{bad[0]}' is not finite", advice)


def _ends(span: Range) -> tuple[Any, ...]:
    return span.arguments if span.kind == "choice" else (span.low, span.high)


def _first_problem(error: Exception) -> str:
    """pydantic's message in one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[2].partition(" [type=")[0] if len(lines) > 2 else lines[0]


@check("its state survives save and load bit for bit")
def state(subject: Subject) -> str | None:
    method = make_method(subject.cls, **subject.hyper())
    batches, optimizer = ToyBatches(method, wrong=0.3), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 20)
    file = io.BytesIO()
    torch.save(copy.deepcopy((method.state_dict(), optimizer.state_dict())), file)
    expected, diagnostics = train(method, batches, optimizer, 20, 30), method.read_records()

    file.seek(0)
    advice = "what the method remembers between steps belongs into buffers, sub-modules or extra_state()"
    try:
        saved = torch.load(file, weights_only=True)
    except Exception as error:
        plain = "extra_state() may hold tensors, numbers, words, lists and dicts; no objects"
        raise Failed(f"the state holds more than data: {str(error).splitlines()[0]}", plain) from error
    fresh = make_method(subject.cls, seed=7, **method.hyper.model_dump())
    resumed = make_optimizer(fresh.model)
    fresh.load_state_dict(saved[0])
    resumed.load_state_dict(saved[1])
    found = train(fresh, batches, resumed, 20, 30)
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if ours != theirs:
            seen = next(f"'{k}' {ours.get(k)} instead of {theirs[k]}" for k in theirs if ours.get(k) != theirs[k])
            raise Failed(f"{step + 1} steps after a reload the losses are others: {seen}", advice)
    if str(fresh.read_records()) != str(diagnostics):  # by text: NaN, where nothing is known, equals itself
        raise Failed("after a reload the diagnostics are others", advice)
    other = next((k for k, v in method.state_dict().items() if not _same(v, fresh.state_dict()[k])), None)
    if other is not None:
        raise Failed(f"10 steps after a reload '{other}' is another", advice)
    return "10 steps after a reload"


def _same(value: Any, other: Any) -> bool:
    """Whether two values of a state are equal, where NaN equals NaN."""
    if not isinstance(value, torch.Tensor):
        return True
    return value.shape == other.shape and bool(((value == other) | (value.isnan() & other.isnan())).all())


@check("the same seed gives the same losses, whatever the global generators stand at")
def determinism(subject: Subject) -> str | None:
    def losses(elsewhere: int) -> list[dict[str, float]]:
        with _GlobalSeed(elsewhere):
            method = make_method(subject.cls, **subject.hyper())
            return train(method, ToyBatches(method), make_optimizer(method.model), last=10)

    first, second = losses(1), losses(2)
    if first != second:
        step = next(number for number, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
        raise Failed(
            f"two runs of one seed differ from step {step} on: {first[step]} and {second[step]}",
            "draw random numbers with generator=self.generator; new modules start from self.setup.seed or make_model",
        )
    return "10 steps"


@check("neither building nor stepping draws from the global random generators")
def own_generator(subject: Subject) -> str | None:
    with _GlobalSeed(1):
        before = _global_states()
        method = make_method(subject.cls, **subject.hyper())
        built = _global_states()
        train(method, ToyBatches(method), make_optimizer(method.model), last=3)
        stepped = _global_states()
    advice = "draw with generator=self.generator; create modules inside torch.random.fork_rng(), seeded by setup.seed"
    for when, old, new in (("building", before, built), ("a step", built, stepped)):
        moved = [name for name in old if old[name] != new[name]]
        if moved:
            raise Failed(f"{when} draws from the global generator of {moved[0]}", advice)
    return None


class _GlobalSeed:
    """Seeds the global generators inside a `with` block and restores their states afterwards."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self.outer = torch.get_rng_state(), np.random.get_state(), random.getstate()
        torch.default_generator.manual_seed(self.seed)
        np.random.seed(self.seed)
        random.seed(self.seed)

    def __exit__(self, *details: object) -> None:
        torch.set_rng_state(self.outer[0])
        np.random.set_state(self.outer[1])
        random.setstate(self.outer[2])


def _global_states() -> dict[str, Any]:
    return {"torch": torch.get_rng_state().tolist(), "numpy": str(np.random.get_state()), "random": random.getstate()}


@check("a step never waits for the device")
def no_waiting(subject: Subject) -> str | None:
    method = make_method(subject.cls, **subject.hyper())
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    try:
        for step in range(3):
            batch = batches.next(step)
            with NoHostSync():
                method.take_step(batch, optimizer)
    except HostSync as error:
        raise Failed(
            own_lines(error, subject.file).removeprefix("HostSync: "),
            "no .item(), float(tensor), `if tensor:`, nonzero(), x[mask]: multiply by the mask, use self.record()",
        ) from error
    return None


@check("the loss on clean images falls")
def learns(subject: Subject) -> str | None:
    method = make_method(subject.cls, model_ema=0.9)
    batches = ToyBatches(method)
    before = _clean_loss(method, batches)
    train(method, batches, make_optimizer(method.model))
    after = _clean_loss(method, batches)
    if not after < 0.8 * before:
        raise Failed(
            f"50 steps on an easy toy took the evaluated model from a loss of {before:.3f} to {after:.3f}",
            "is the loss differentiable in the model's weights, and does step() call self.descend()?",
        )
    return f"{before:.2f} to {after:.2f} in 50 steps"


@torch.no_grad()
def _clean_loss(method: Method, batches: ToyBatches) -> float:
    return F.cross_entropy(method.eval_model(batches.images), batches.true).item()


@check("it works without batch normalisation")
def without_batch_norm(subject: Subject) -> str | None:
    method = make_method(subject.cls, model=ToyModel(norm=False, dtype=torch.float32))
    _finite(train(method, ToyBatches(method), make_optimizer(method.model), last=3), "without batch normalisation")


@check("true labels change nothing: they serve diagnostics only, and nothing breaks where nobody knows them")
def truth_unused(subject: Subject) -> str | None:
    if getattr(subject.cls, "uses_truth", False):
        raise Skipped("the method says uses_truth = True: it is an oracle")

    def losses(known: bool) -> list[dict[str, float]]:
        method = make_method(subject.cls, **subject.hyper())
        batches = ToyBatches(method, wrong=0.3)
        if not known:
            batches.true.fill_(-1)
        found = train(method, batches, make_optimizer(method.model), last=6)
        method.read_records()
        return found

    with_truth, without = losses(True), losses(False)
    _finite(without, "without true labels")
    if with_truth != without:
        raise Failed(
            "the losses are others where the true labels are unknown (-1)",
            "train on stream.y; stream.true is for record_ratio() only. An oracle says uses_truth = True in its class",
        )


def _finite(losses: list[dict[str, float]], where: str) -> None:
    for number, step in enumerate(losses):
        for name, loss in step.items():
            if not math.isfinite(loss):
                advice = "guard divisions and logarithms: a batch may have no image of a class, or none selected"
                raise Failed(f"{where} the loss '{name}' of step {number} is {loss}", advice)
