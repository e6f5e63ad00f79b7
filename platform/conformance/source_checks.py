"""Checks of a data source: what it reads, and that a trial can be trained on it."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from platform.conformance.suite import Failed, Subject, check
from platform.conformance.trial_checks import CONVOLUTIONAL
from platform.core.errors import UserError
from platform.core.registry import METHODS
from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.data import open_dataset
from platform.data.dataset import Augment, Dataset, Images
from platform.data.image_store import make_source
from platform.data.label_plan import make_plan
from platform.data.source_contract import read_source
from platform.data.sources.source import Reading, Source
from platform.training.trial import Trial

KIND = "data source"
LIMIT = 200
"""Images that are decoded and trained on."""

SEEDS: dict[str, int] = dict.fromkeys(AXES, 1)
TRAIN = {"steps": 2, "batch_size": 8, "evaluations": 1, "compile": "off", "amp": "off"}


def settings(subject: Subject, **more: Any) -> DataSettings:
    """The data settings of a sweep file that names the source."""
    return DataSettings.model_validate({"source": subject.name, **subject.options, **more})


def make(subject: Subject) -> Source:
    """The source with the options that were typed. Raises UserError."""
    return make_source(settings(subject))


@check("its docstring says what it holds, and every option has a help text", kind=KIND)
def docs(subject: Subject) -> str | None:
    if not inspect.cleandoc(subject.cls.__doc__ or ""):
        raise Failed(
            "the class has no docstring", '"""my_source: what the images are, how many, whose (Name, year)."""'
        )
    silent = [name for name, info in subject.cls.Options.model_fields.items() if not info.description]
    if silent:
        raise Failed(f"options without a description: {', '.join(silent)}", 'Field(default, description="...")')
    return None


@check("read() gives splits, labels and class names that fit together", kind=KIND)
def reads(subject: Subject) -> str | None:
    reading = _reading(subject)
    test = "a drawn test part" if reading.test is None else f"{len(reading.test):,} test images"
    return f"{len(reading.train):,} training images, {test}, {len(reading.class_names)} classes"


@check("files() names files that are there, and reading twice gives the same", kind=KIND)
def repeatable(subject: Subject) -> str | None:
    missing = [str(file) for file in make(subject).files() if not file.is_file()]
    if missing:
        raise Failed(
            f"files() names what is no file: {missing[0]}", "list the files whose bytes decide what read() gives"
        )
    first, again = _digest(_reading(subject)), _digest(_reading(subject))
    if first != again:
        raise Failed("read() gives something else the second time", "draw with numpy.random.default_rng(0), sort files")
    return None


@check("its images decode to one shape, and augment() suits them", quick=False, kind=KIND)
def opens(subject: Subject) -> str | None:
    with _opened(subject) as dataset:
        if not isinstance(dataset.augment, Augment):
            raise Failed(f"augment() gives a {type(dataset.augment).__name__}", "return an Augment(...)")
        return f"{' x '.join(map(str, dataset.image_shape))}"


@check("a network trains on it", quick=False, kind=KIND)
def trains(subject: Subject) -> str | None:
    with _opened(subject) as dataset:
        method = METHODS.get("supervised")
        spec = TrialSpec(
            method="supervised",
            hyper=method.Hyper().model_dump(),
            model=CONVOLUTIONAL,
            train=TrainSettings.model_validate(TRAIN),
            data=settings(subject),
            labels=LabelSettings.model_validate({}),
            seeds=SEEDS,
            code="",
        )
        try:
            (report,) = Trial(spec, dataset, make_plan(dataset, spec.labels, SEEDS), method).reports()
        except UserError as error:
            raise Failed(str(error), "a sweep on this source would end with these words") from error
        return None if np.isfinite(report.metrics["train_loss"]) else "the first losses are not finite"


def _reading(subject: Subject) -> Reading:
    source = make(subject)
    source.prepare()
    try:
        return read_source(source)
    except UserError as error:
        problem = error.problems[0]
        raise Failed(problem.message, problem.hint or "see platform/data/sources/source.py") from error


@contextlib.contextmanager
def _opened(subject: Subject) -> Iterator[Dataset]:
    """A part of it, decoded; of a plug-in file into a cache that is removed afterwards."""
    outer = os.environ.get("KURABE_CACHE")
    with TemporaryDirectory(prefix="kurabe-check-") as folder:
        if subject.name.endswith(".py"):
            os.environ["KURABE_CACHE"] = folder
        try:
            yield open_dataset(settings(subject, limit=LIMIT), SEEDS["data"])
        except UserError as error:
            raise Failed(str(error), "a sweep on this source would end with these words") from error
        finally:
            os.environ.pop("KURABE_CACHE", None)
            os.environ.update({} if outer is None else {"KURABE_CACHE": outer})


def _digest(reading: Reading) -> str:
    total = hashlib.sha256(repr(reading.class_names).encode())
    for split in (reading.train, reading.test):
        if split is not None:
            total.update(np.ascontiguousarray(split.labels).tobytes() + repr(split.ids).encode())
            total.update(_bytes(split.images))
    return total.hexdigest()


def _bytes(images: Images) -> bytes:
    """The bytes of the first images and of their number."""
    first = [images[i] for i in range(min(len(images), 20))]
    texts = [image.tobytes() if isinstance(image, np.ndarray) else repr(image).encode() for image in first]
    return b"\0".join([str(len(images)).encode(), *texts])
