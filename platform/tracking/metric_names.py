"""Names of curves in MLflow: the ledger's, with a prefix that groups them, since MLflow makes a section of each prefix.

`score` and `test_accuracy` without a prefix are final results, which only a completed trial and a study have. Their
curves are `val/score` and `test/test_accuracy`. So no sorting, grouping or bar takes a trial that was stopped for one.
"""

from __future__ import annotations

import posixpath
import re

from platform.tracking.limits import MAX_KEY

__all__ = ["PLACE", "SECONDS", "curve_name", "metric_name"]

PLACE = ("step", "evaluation")
"""Of a report: the axis of the chart, not a curve."""

SECONDS = "system/seconds"
"""In every report, and always finite: the steps that it has are the evaluations that MLflow holds."""

_SYSTEM = ("seconds", "images_per_second", "accumulate")
_TRAIN = ("lr", "train_loss")
_NOT_IN_NAMES = re.compile(r"[^\w\-. :/]", re.ASCII)


def metric_name(name: str) -> str:
    """`name` with what MLflow does not take in a name replaced by _; it takes no path that is not a plain one."""
    found = _NOT_IN_NAMES.sub("_", name)[:MAX_KEY].strip("/") or "_"
    return found if posixpath.normpath(found) == found and found[0] != "." else re.sub(r"[./]", "_", found)


def curve_name(name: str) -> str:
    """The key in MLflow of a metric of a report: test_accuracy becomes test/test_accuracy, loss/labelled stays."""
    if name.startswith("diag/stage_"):
        return metric_name("layer/" + name.removeprefix("diag/"))
    return metric_name(name if name.startswith(("loss/", "diag/")) else f"{_prefix(name)}/{name}")


def _prefix(name: str) -> str:
    if name in _SYSTEM:
        return "system"
    if name in _TRAIN:
        return "train"
    if name.startswith("test_"):
        return "test"
    return "val" if name == "score" or "val_" in name else "diag"
