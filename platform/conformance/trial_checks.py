"""Checks of a method inside a whole trial: real networks, label plans with and without unlabelled images, devices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import platform.core.accelerator as accelerator
from platform.conformance.suite import Failed, Skipped, Subject, check, own_lines
from platform.core.errors import UserError
from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.data.dataset import Augment, Dataset, LabelPlan, Split
from platform.training.trial import Trial

CLASSES, SIDE = 4, 8
CONVOLUTIONAL, TRANSFORMER = "small_cnn", "timm:test_vit:patch=2"
BATCH_SIZE, LARGEST_URATIO = 8, 2


@cache
def blobs() -> Dataset:
    """160 training and 40 test images of 8 x 8 pixels: each class is a bright square in its own corner."""

    def split(count: int, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        labels = np.arange(count) % CLASSES
        images = rng.integers(0, 96, (count, 1, SIDE, SIDE))
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 2)
            image[0, 1 + 4 * row : 3 + 4 * row, 1 + 4 * column : 3 + 4 * column] += 140
        return Split(images.astype(np.uint8), labels.astype(np.int64))

    names = tuple(f"blob {number}" for number in range(CLASSES))
    return Dataset("blobs", names, split(160, 0), split(40, 1), Augment(flip=False, pad=1), sha256="blobs")


def label_plan(labelled: int = 32, unlabelled: int = 120, truth: bool = True) -> LabelPlan:
    """The first images keep their label, a fifth of them wrongly; of the last 40, 32 are for validation, 8 verified."""
    true = blobs().train.labels
    given = np.where(np.arange(len(true)) % 5 == 3, (true + 1) % CLASSES, true)
    places = np.arange(len(true))
    given[152:] = true[152:]
    parts: dict[str, Any] = {"labelled": places[:labelled], "unlabelled": places[:unlabelled], "val": places[120:152]}
    known = true if truth else None
    return LabelPlan(**parts, clean=places[152:], given=given, true=known, sha256="plan")


def trial(subject: Subject, model: str = CONVOLUTIONAL, plan: LabelPlan | None = None, **changes: Any) -> Trial:
    """A small trial of the method. changes: device, and training settings."""
    device = changes.pop("device", "cpu")
    hyper = subject.hyper(uratio=LARGEST_URATIO, meta_batch_size=8)
    train = {"steps": 6, "batch_size": BATCH_SIZE, "evaluations": 2, "lr": 0.02, "compile": "off", "amp": "off"}
    spec = TrialSpec(
        method=subject.name,
        hyper=subject.cls.Hyper(**hyper).model_dump(),
        model=model,
        train=TrainSettings.model_validate(train | changes),
        data=DataSettings.model_validate({}),
        labels=LabelSettings.model_validate({}),
        seeds=dict.fromkeys(AXES, 1),
        code="",
    )
    return Trial(spec, blobs(), label_plan() if plan is None else plan, subject.cls, device)


def _complete(subject: Subject, where: str, **changes: Any) -> None:
    """Run a trial to its end: each report finite where it must be."""
    advice = f"step through it: a Trial is an ordinary iterator ({where})"
    try:
        reports = list(trial(subject, **changes).reports())
    except Exception as error:
        raise Failed(f"{where}: {own_lines(error, subject.file)}", advice) from error
    if reports[-1].outcome != "completed":
        raise Failed(f"{where} the trial ends as '{reports[-1].outcome}' after {reports[-1].step} steps", advice)
    if not math.isfinite(reports[-1].metrics["test_accuracy"]):
        raise Failed(f"{where} the test accuracy is no number", advice)


@check("it trains a convolutional network and a Vision Transformer", quick=False)
def two_networks(subject: Subject) -> str | None:
    for model in (CONVOLUTIONAL, TRANSFORMER):
        _complete(subject, f"with {model}", model=model)
    return f"{CONVOLUTIONAL}, {TRANSFORMER}"


@check("it trains in mixed precision", quick=False)
def mixed_precision(subject: Subject) -> str | None:
    _complete(subject, "with bf16 autocast", amp="on")


@check("it trains where every image has a label", quick=False)
def all_labelled(subject: Subject) -> str | None:
    _complete(subject, "with 120 labelled images and no others", plan=label_plan(labelled=120))


@check("without any unlabelled image it trains, or is refused in words where it asks for them", quick=False)
def no_unlabelled(subject: Subject) -> str | None:
    plan = label_plan(unlabelled=0)
    try:
        trial(subject, plan=plan)
    except UserError as error:
        if subject.cls.views_for(subject.cls.Hyper(**subject.hyper())).unlabelled:
            return f"refused: {error.problems[0].message}"
        raise Failed(
            f"refused without unlabelled images, although it asks for none: {error.problems[0].message}",
            "meta_source should not be 'unlabelled' by default",
        ) from error
    _complete(subject, "without unlabelled images", plan=plan)


@check("a whole trial goes on after a checkpoint as if nothing had been", quick=False)
def checkpoint(subject: Subject) -> str | None:
    first = trial(subject)
    first.advance(3)
    with TemporaryDirectory() as folder:
        first.save(Path(folder) / "trial.pt")
        second = trial(subject)
        second.load(Path(folder) / "trial.pt")
    resumed, undisturbed = ([dict(_comparable(report.metrics)) for report in t.reports()] for t in (second, first))
    for number, (one, other) in enumerate(zip(resumed, undisturbed, strict=True)):
        for name in other:
            if one.get(name) != other[name]:
                raise Failed(
                    f"after a reload the evaluation {number + 1} has {name} {one.get(name)} instead of {other[name]}",
                    "what the method remembers between steps belongs into buffers, sub-modules or extra_state()",
                )
    return None


def _comparable(metrics: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Metrics as text, so that NaN equals NaN; without the speed, which differs."""
    return ((name, str(value)) for name, value in metrics.items() if name != "images_per_second")


@check("it trains on a GPU, and its steps never wait for it", quick=False)
def cuda(subject: Subject) -> str | None:
    if not accelerator.available():
        raise Skipped("there is no GPU here")
    device = torch.device(accelerator.kind())
    _complete(subject, "on the GPU", device=device)
    running = trial(subject, device=device, amp="auto")
    running.advance(2)
    batches = [running.batches.next(step, 6) for step in (2, 3)]
    try:
        with accelerator.waiting_raises(device):
            for batch in batches:
                running.method.take_step(batch, running.optimizer)
    except RuntimeError as error:
        advice = "no .item(), .cpu(), tensors made from Python lists, or shapes that depend on values"
        raise Failed(f"a step waits for the GPU: {own_lines(error, subject.file)}", advice) from error
    return accelerator.name(device)
