"""Shrinks a sweep to the smallest one that runs every part of it, in about a minute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from platform.sweepfile.checked_sweep import Sweep
from platform.sweepfile.compatibility import MEMBERS
from platform.sweepfile.loading import load_plain
from platform.sweepfile.resolved_space import resolve_space
from platform.sweepfile.space import Given, MethodEntry

LIMITED = {"uratio": 1, "meta_batch_size": 8}
"""Hyper-parameters that decide how many images a step sees, where a method has them."""

EMBEDDED = "digits"


def smoke(sweep: Sweep) -> Sweep:
    """The sweep with the same methods and search, a small model, 6 steps, and embedded images.

    The user's own images, and plug-in files, stay in it.
    """
    file = sweep.resolved()
    local = sweep.data.source.endswith(".py") or _is_local(sweep.data.source)
    file["name"] = f"{sweep.name[:58]}-smoke"
    file["data"] = {**file["data"], "limit": 256} if local else {"source": EMBEDDED}
    file["labels"] = _labels(file["labels"], local)
    file["model"] = sweep.model if sweep.model.endswith(".py") else "small_cnn"
    file["train"] |= {"steps": 6, "evaluations": 2, "warmup": 0, "eval_batch_size": 256, "compile": "off"}
    file["train"] |= {"accumulate": 1}
    repeats = min(1, sweep.budget.repeats)
    trials = MEMBERS if sweep.budget.scheduler == "pbt" else 2
    file["budget"] |= {"preset": None, "trials": trials, "seconds": None, "studies": 1, "repeats": repeats, "grace": 1}
    limits: dict[str, Any] = {"train.batch_size": 8, "train.warmup": 0}
    limits |= {f"{entry.name}.{key}": value for entry in sweep.methods for key, value in _limits(sweep, entry).items()}
    file["search"] = {key: value for key, value in file["search"].items() if key not in limits}
    file["fixed"] |= limits
    return replace(load_plain(file, sweep.path), connection=sweep.connection)


def _is_local(source: str) -> bool:
    from platform.core.registry import SOURCES

    return SOURCES.get(source).local


def _limits(sweep: Sweep, entry: MethodEntry) -> dict[str, int]:
    """The entries of LIMITED that the method has and that act in the sweep."""
    limits = {key: value for key, value in LIMITED.items() if key in entry.hyper_keys()}
    given = sweep.given[entry.name]
    space = {key: searched for key, searched in given.space.items() if key not in limits}
    inert = resolve_space(entry, Given(space, given.fixed | limits)).inert
    return {key: value for key, value in limits.items() if key not in inert}


def _labels(labels: dict[str, Any], local: bool) -> dict[str, Any]:
    """Label settings for few images: few labels stay few; columns and counts that other images lack are left out."""
    few = labels["per_class"] is not None or labels["total"] is not None
    column = labels["noise"].startswith("column:")
    noise = {"noise": "symmetric", "rate": 0.4} if column and not local else {}
    counts = {"per_class": 2 if few else None, "total": None, "imbalance": 1.0}
    return labels | counts | {"val": min(labels["val"], 0.2)} | noise
