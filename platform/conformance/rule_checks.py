"""Checks of a selection rule: a number for every trial, from what it may see, the right way round."""

from __future__ import annotations

import copy
import inspect
import math
from typing import Any

from platform.conformance.suite import Failed, Subject, check

KIND = "selection rule"
SEEN = (
    "train_loss, noisy_val_accuracy, clean_val_accuracy (NaN where true labels are unknown), val_loss, val_clid, "
    "val_accuracy_spread (NaN at the first evaluation), lr, images_per_second, loss/NAME, diag/NAME; no test_NAME"
)


def history(count: int, quality: float = 0.5, truth: bool = True) -> list[dict[str, float]]:
    """Evaluations of a trial as a rule sees them. quality: from 0 to 1, better in everything."""
    reports = []
    for number in range(1, count + 1):
        accuracy = quality * (1 - 0.5 / number)
        reports.append(
            {
                "evaluation": float(number),
                "step": 10.0 * number,
                "seconds": float(number),
                "train_loss": 2 - accuracy,
                "noisy_val_accuracy": accuracy,
                "clean_val_accuracy": accuracy if truth else math.nan,
                "val_loss": 2 - accuracy,
                "val_clid": 2 - accuracy,
                "val_accuracy_spread": 0.01 if number > 1 else math.nan,
                "lr": 0.03,
                "images_per_second": 1000.0,
                "loss/labelled": 2 - accuracy,
            }
        )
    return reports


def _score(subject: Subject, reports: list[dict[str, float]]) -> float:
    try:
        found: Any = subject.cls.score(reports)
    except KeyError as error:
        raise Failed(f"score() asks for {error}, which an evaluation does not have", f"it may see: {SEEN}") from error
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise Failed(f"score() gives a {type(found).__name__}, not a number", "return a float")
    return float(found)


@check("its file says what it picks by", kind=KIND)
def docs(subject: Subject) -> str | None:
    if not (inspect.getdoc(subject.cls) or ""):
        raise Failed("the file has no docstring", '"""What the winner is best in, and what it needs to know."""')
    return None


@check("MAXIMISE and NEEDS_TRUTH are true or false", kind=KIND)
def facts(subject: Subject) -> str | None:
    wrong = [name for name in ("MAXIMISE", "NEEDS_TRUTH") if not isinstance(getattr(subject.cls, name), bool)]
    if wrong:
        raise Failed(f"{' and '.join(wrong)} is neither True nor False", "MAXIMISE = True where more is better")
    return f"{'more' if subject.cls.MAXIMISE else 'less'} is better"


@check("it gives a finite number from the first evaluation on", kind=KIND)
def scores(subject: Subject) -> str | None:
    truth = subject.cls.NEEDS_TRUTH
    for count in (1, 2, 10):
        found = _score(subject, history(count, truth=truth))
        if not math.isfinite(found):
            text = f"after {count} evaluation{'s' * (count > 1)} the score is {found}"
            hint = "say NEEDS_TRUTH = True where it reads true labels" if not truth else "return a finite number"
            raise Failed(text, hint)
    return None


@check("the same evaluations give the same score, and stay as they are", kind=KIND)
def pure(subject: Subject) -> str | None:
    reports = history(5)
    before = copy.deepcopy(reports)
    first = _score(subject, reports)
    if repr(reports) != repr(before):
        raise Failed("score() changes the evaluations", "copy what you change")
    if _score(subject, reports) != first:
        raise Failed("the second call gives another score", "compute it from `reports` alone")
    return None


@check("a trial that is better in everything does not get the worse score", kind=KIND)
def direction(subject: Subject) -> str | None:
    good, bad = (_score(subject, history(5, quality)) for quality in (0.9, 0.1))
    if (good < bad) if subject.cls.MAXIMISE else (good > bad):
        raise Failed(
            f"the better one gets {good:.4g}, the worse one {bad:.4g}", f"MAXIMISE = {not subject.cls.MAXIMISE}?"
        )
    return None
