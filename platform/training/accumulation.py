"""Gradient accumulation: a batch that does not fit into memory is split, and the gradients of its parts are added."""

from __future__ import annotations

from typing import Any

from methods.base import Method
from platform.core.errors import Problem, UserError
from platform.core.spec import TrialSpec

__all__ = ["MOST", "check_parts", "next_parts", "why_not"]

MOST = 8
"""Largest number of parts that a batch is split into where memory runs out. A sweep file may ask for more."""


def why_not(name: str, method_class: type[Method], hyper: Any, batch_size: int, parts: int) -> str:
    """The reason why the method cannot make its step in `parts` parts; "" where it can."""
    if parts == 1:
        return ""
    if not vars(method_class).get("accumulates", False) or method_class.step is not Method.step:
        return f"'{name}' looks at a batch as a whole (its `accumulates` is not True), so its batches cannot be split"
    sizes = method_class.stream_sizes(hyper, batch_size)
    for stream, size in sizes.items():
        if size % parts:
            return f"{size} {stream} images of a step cannot be split in {parts} equal parts"
    return ""


def next_parts(spec: TrialSpec, method_class: type[Method], parts: int) -> tuple[int, str]:
    """Twice the parts that did not fit into memory, and ""; or 0, and why nothing smaller is tried."""
    if 2 * parts > MOST * spec.train.accumulate:
        return 0, f"split in {parts} parts, its batches did not fit either"
    hyper = method_class.Hyper(**spec.hyper)
    why = why_not(spec.method, method_class, hyper, spec.train.batch_size, 2 * parts)
    return (0, f"not tried again in smaller parts: {why}") if why else (2 * parts, "")


def check_parts(name: str, method_class: type[Method], hyper: Any, batch_size: int, parts: int) -> None:
    """Check that the method can make its step in `parts` parts; UserError where it cannot."""
    if message := why_not(name, method_class, hyper, batch_size, parts):
        hint = "accumulate: 1 makes the step in one; a smaller batch_size needs less memory too"
        raise UserError(Problem(message, "train.accumulate", hint=hint))
