"""Whole trials on the pretended device, in a process that has it: what the tests of this folder call there."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch

import platform.core.accelerator as accelerator
import platform.training.restored as restored
from platform.conformance import Subject, run
from platform.conformance.suite import own_lines
from platform.conformance.trial_checks import blobs, label_plan, trial
from platform.core.errors import UserError
from platform.training.trial import Trial
from tests.pretend import backend, faulty_methods, generators

__all__ = ["conforms", "elsewhere", "fails", "looked_at", "pool", "whole_trial"]

STEPS, EVALUATIONS = 6, 2  # four are a pass over the labelled images: methods in two stages reach the second


def pool() -> ProcessPoolExecutor:
    """A process with the device."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    backend.register()
    os.environ[accelerator.PRETENDED] = backend.NAME
    generators.GeneratorsOfTheDevice().__enter__()
    step: Callable[[Trial], Any] = Trial._train_step

    def watched(trial: Trial) -> Any:
        if trial.device.type != backend.NAME:
            return step(trial)
        _ = trial.images.train, trial.images.extra  # uploaded when first used
        with accelerator.waiting_raises(trial.device):
            return step(trial)

    Trial._train_step = watched  # type: ignore[method-assign]


def make(subject: Subject, device: str = backend.NAME, **changes: Any) -> Trial:
    """A small trial. On a CPU memory format and precision are these, too."""
    settings = {"steps": STEPS, "evaluations": EVALUATIONS, "channels_last": False, "amp": "off"}
    return trial(subject, device=device, **(settings | changes))


def numbers(reports: Any) -> list[dict[str, float]]:
    """The metrics of reports, without the speed."""
    return [{name: v for name, v in report.metrics.items() if name != "images_per_second"} for report in reports]


def whole_trial(name: str) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Train a method on the device, evaluate it, save it, go on in another trial, and in a third, which branches
    off in mixed precision with channels last; and train it on a CPU.

    Returns the metrics on the device and on the CPU. Raises AssertionError where the second trial ends otherwise than
    the first, or the third is not as on a GPU; and where a step waits for the device, what says so.
    """
    subject = Subject.of(name)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trial.pt"
        undisturbed = make(subject)
        reports = undisturbed.reports()
        found = [next(reports)]
        undisturbed.save(path)
        found += list(reports)
        resumed, branched = make(subject), make(subject, lr=0.01, amp="auto", channels_last=True)
        resumed.load(path)
        branched.branch(path, undisturbed.spec.key)
        branched.advance(2)
        _look(branched)
        resumed.advance(STEPS)
        if different := [
            name for name, value in _weights(resumed).items() if not value.equal(_weights(undisturbed)[name])
        ]:
            raise AssertionError(f"not as if it had not been interrupted: {different}")
        return numbers(found), numbers(make(subject, "cpu").reports())


def _weights(trial: Trial) -> dict[str, torch.Tensor]:
    state = trial.method.state_dict()
    return {name: value for name, value in state.items() if name.startswith(("model.", "ema."))}


def _look(trial: Trial) -> None:
    """Raise AssertionError where a trial is not as on a GPU."""
    state = {name: v for name, v in trial.method.state_dict().items() if isinstance(v, torch.Tensor)}
    elsewhere = [name for name, value in state.items() if value.device.type != backend.NAME]
    if elsewhere or not trial.amp or trial.batches.images.train.device.type != backend.NAME:
        raise AssertionError(f"not on the device: {elsewhere}; in mixed precision: {trial.amp}")


def fails(name: str) -> tuple[str, str]:
    """Train a faulty method: the message of its error with its own lines, and FILE:LINE of the line marked `here`."""
    cls = getattr(faulty_methods, name)
    file = Path(faulty_methods.__file__)
    lines, start = inspect.getsourcelines(cls)
    (marked,) = (start + number for number, line in enumerate(lines) if "# here" in line)
    subject = Subject(name, cls, file)
    list(make(subject, "cpu").reports())  # there nothing is wrong with it
    try:
        list(make(subject).reports())
    except Exception as error:
        return own_lines(error, file), f"{file.name}:{marked}"
    return "it trains", f"{file.name}:{marked}"


def elsewhere(first: str, second: str) -> str:
    """The error of going on on one device with what a trial on another has saved."""
    subject = Subject.of("mean_teacher")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trial.pt"
        before, after = make(subject, first), make(subject, second)
        before.advance(1)
        before.save(path)
        try:
            after.load(path)
        except UserError as error:
            return str(error)
    return "it goes on"


def looked_at(first: str, second: str) -> tuple[str, float, float]:
    """Restore on one device what a trial on another has saved: where it is then; test accuracy before and now."""
    subject = Subject.of("mean_teacher")
    data = SimpleNamespace(load=lambda spec: (blobs(), label_plan()), images=None)
    usual, restored.PROCESS_DATA = restored.PROCESS_DATA, data  # type: ignore[assignment]
    os.environ[accelerator.PRETENDED] = "" if second == "cpu" else second
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trial.pt"
        trained = make(subject, first)
        *_, report = trained.reports()
        trained.save(path)
        try:
            found = restored.restore(trained.spec, path, subject.name, "here")
        finally:
            os.environ[accelerator.PRETENDED], restored.PROCESS_DATA = backend.NAME, usual
    now = found._evaluate(found.method.eval_model)
    return found.device.type, report.metrics["test_accuracy"], now["test_accuracy"]


def conforms(name: str) -> tuple[str, str]:
    """Status and message of the conformance check of a GPU, with the settings of one: channels last, bf16."""
    cls = getattr(faulty_methods, name, None)
    subject = Subject(name, cls, Path(faulty_methods.__file__)) if cls else Subject.of(name)
    result = run("cuda", subject)
    return result.status, result.message
