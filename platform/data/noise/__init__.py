"""Label noise: plug-ins, one file per kind, found by place, by path or by the entry-point group `kurabe.noise`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.plugins import BrokenPlugin, UnknownPlugin, own_trace
from platform.core.registry import NOISE, noise_kinds
from platform.data.noise.noise_model import Noise

__all__ = ["Noise", "corrupt"]


def corrupt(
    labels: np.ndarray,
    kind: str,
    rate: float,
    num_classes: int,
    seed: int,
    images: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> np.ndarray:
    """`labels` [N] with synthetic noise: [N] int64 in [0, C), -1 (no label) stays -1. The input is left alone.

    The same seed gives the same labels. Rate 0 changes nothing, for every kind. images: [N, C, H, W] uint8, for kinds
    that look at them. class_names: lets `asymmetric` confuse the classes the literature confuses. Rates up to 1 are
    allowed for every kind, also those that leave the true class less likely than a wrong one (symmetric above
    (C - 1) / C, pair above 1/2), which the notes of a label plan then say.
    Raises UserError for an unknown kind, a rate outside [0, 1], labels out of range, missing images.
    """
    labels = np.asarray(labels)
    _check(labels, rate, num_classes)
    noisy = labels.astype(np.int64)
    if kind == "none" or rate == 0:
        if kind != "none":
            _noise(kind)
        return noisy
    noise = _noise(kind)
    rows = np.flatnonzero(noisy >= 0)
    if noise.needs_images:
        if images is None or len(images) != len(labels):
            raise UserError(Problem(f"noise '{kind}' looks at the images: pass one per label", "labels.noise"))
        images = images if len(rows) == len(images) else images[rows]
    rng = np.random.default_rng(seed)
    noisy[rows] = _corrupted(noise, kind, (noisy[rows], rate, num_classes, rng, images, class_names))
    return noisy


def _corrupted(noise: Noise, kind: str, arguments: tuple[Any, ...]) -> np.ndarray:
    """The result of `noise.corrupt`, checked. UserError where a plug-in fails or gives something else than labels."""
    labels, _, num_classes, *_ = arguments
    try:
        found: Any = noise.corrupt(*arguments)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        trace = own_trace(error, Path(inspect.getfile(type(noise))))
        raise UserError(Problem(f"the noise '{kind}' fails", "labels.noise", hint=trace)) from error
    form = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.shape != labels.shape:
        text = f"the noise '{kind}' gives {form}, not whole numbers [{len(labels)}]"
        raise UserError(Problem(text, "labels.noise"))
    if len(found) and not 0 <= found.min() <= found.max() < num_classes:
        text = f"the noise '{kind}' gives labels from {found.min()} to {found.max()}: there are {num_classes} classes"
        raise UserError(Problem(text, "labels.noise"))
    return found


def _noise(kind: str) -> Noise:
    try:
        return NOISE.get(kind)()
    except UnknownPlugin as error:
        if kind.startswith("column:"):
            hint = "it is taken from the data, not drawn: platform.data.label_plan.make_plan does that"
        else:
            hint = did_you_mean(kind, noise_kinds(), "python -m platform.catalog")
        raise UserError(Problem(f"no such noise: '{kind}'", "labels.noise", hint=hint)) from error
    except BrokenPlugin as error:
        raise UserError(Problem(f"{error.name}: {error.reason}", "labels.noise", hint=error.trace)) from error


def _check(labels: np.ndarray, rate: float, num_classes: int) -> None:
    if not 0 <= rate <= 1:  # also false for NaN
        raise UserError(Problem(f"{rate} is no noise rate", "labels.rate", hint="allowed: 0 to 1"))
    if num_classes < 2:
        raise UserError(Problem(f"label noise needs at least 2 classes, there are {num_classes}", "labels.noise"))
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(Problem(f"labels are whole numbers [N], not {labels.dtype} {list(labels.shape)}", "labels"))
    if len(labels) and not -1 <= labels.min() <= labels.max() < num_classes:
        text = f"labels from {labels.min()} to {labels.max()} are out of range"
        raise UserError(Problem(text, "labels", hint=f"allowed: 0 to {num_classes - 1}, or -1 for none"))
