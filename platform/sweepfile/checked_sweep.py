"""A checked sweep: its methods, settings and studies, ready to be run."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from platform.core.code_hash import code_hash
from platform.core.errors import Problem, UserError
from platform.core.spec import AXES, DataSettings, LabelSettings, PlugIn, TrainSettings, TrialSpec, derive_seed
from platform.core.uri import SecretUri
from platform.sweepfile.error_text import parse, show
from platform.sweepfile.resolved_space import resolve_space, with_defaults_where_inert
from platform.sweepfile.schema import Budget, Resources, Retry, WatchSettings
from platform.sweepfile.space import Given, MethodEntry, Space, SpaceEntry, is_active
from platform.sweepfile.yaml_tree import dump

__all__ = ["MethodEntry", "SpaceEntry", "Study", "Sweep"]


@dataclass(frozen=True)
class Study:
    """One search of one method. Keys of `space`, `start` and params are relative to the method: centre_ema, train.lr.

    start: trial 0, the defaults moved into the searched ranges; active parameters only. space: parents before the
    parameters that depend on them. trials: budget.trials (UNLIMITED where only seconds count), or fewer where the space
    has no more points.
    """

    id: str
    method: MethodEntry
    index: int
    seed: int
    seeds: dict[str, int]
    space: dict[str, SpaceEntry]
    start: dict[str, Any]
    trials: int
    notes: tuple[str, ...]
    base: TrialSpec  # the defaults, with what is fixed
    fixed: dict[str, Any] = field(default_factory=dict)

    def is_active(self, key: str, params: Mapping[str, Any]) -> bool:
        """Whether `key` exists beside the parameters of `params`."""
        return is_active(self.space, key, params)

    def resolve(self, params: Mapping[str, Any], data_hash: str = "", labels_hash: str = "") -> TrialSpec:
        """The complete trial. Inactive and left-out parameters take their defaults; an unknown key is a KeyError.

        Raises pydantic.ValidationError (a ValueError) where the method refuses the values taken together.
        """
        unknown = [key for key in params if key not in self.space]
        if unknown:
            raise KeyError(f"{unknown[0]} is not searched by {self.id}; searched: {', '.join(self.space)}")
        active = {key: value for key, value in params.items() if self.is_active(key, params)}
        hyper = {**self.base.hyper, **{k: v for k, v in active.items() if not k.startswith("train.")}}
        hyper = with_defaults_where_inert(self.method.cls, hyper)
        train = {k.removeprefix("train."): v for k, v in active.items() if k.startswith("train.")}
        return self.base.model_copy(
            update={
                "hyper": parse(self.method.cls.Hyper, hyper).model_dump(mode="json"),
                "train": parse(TrainSettings, {**self.base.train.model_dump(mode="json"), **train}),
                "data_hash": data_hash,
                "labels_hash": labels_hash,
            }
        )


@dataclass(frozen=True)
class Sweep:
    """A sweep file that passed every check. `given` is `search` and `fixed` by method, ranges of `auto` written out.

    plug_ins: files that it names by path, but for those of methods.
    """

    path: str = field(compare=False)
    name: str
    methods: list[MethodEntry]
    data: DataSettings
    labels: LabelSettings
    model: str
    train: TrainSettings
    budget: Budget
    select: str
    resources: Resources
    retry: Retry
    watch: WatchSettings
    tracking: str
    seed: int
    seeds: dict[str, int]
    given: dict[str, Given]
    connection: SecretUri = field(compare=False, repr=False)  # `tracking` as it was typed, with its secrets
    plug_ins: tuple[PlugIn, ...] = ()
    lines: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    @contextlib.contextmanager
    def locate(self) -> Iterator[None]:
        """Give problems that name a key (labels.per_class, data.path) and leave this block the key's line."""
        try:
            yield
        except UserError as error:
            raise UserError(*map(self._located, error.problems)) from error

    def _located(self, problem: Problem) -> Problem:
        key = problem.key
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return problem if problem.where or not problem.key else replace(problem, where=self.lines.get(key, self.path))

    def resolved(self) -> dict[str, Any]:
        """The whole file with every default and every `auto` written out; loading it gives an equal sweep."""
        search: dict[str, Any] = {}
        fixed: dict[str, Any] = {}
        for entry in self.methods:
            given = self.given[entry.name]
            search |= {_full(entry, key): found.as_yaml() for key, found in given.space.items()}
            fixed |= {_full(entry, key): value for key, value in given.fixed.items()}
        return {
            "name": self.name,
            "methods": [entry.written for entry in self.methods],
            "data": self.data.model_dump(mode="json"),
            "labels": self.labels.model_dump(mode="json"),
            "model": self.model,
            "train": self.train.model_dump(mode="json"),
            "seed": self.seed,
            "seeds": dict(self.seeds),
            "fixed": fixed,
            "search": search,
            "budget": self.budget.model_dump(mode="json"),
            "select": self.select,
            "resources": self.resources.model_dump(mode="json"),
            "retry": self.retry.model_dump(mode="json"),
            "watch": self.watch.model_dump(mode="json"),
            "tracking": self.tracking,
        }

    def to_yaml(self) -> str:
        """`resolved()` as a sweep file, with the command that runs it."""
        return f"# python -m platform.sweep {self.path}\n{dump(self.resolved())}"

    def studies(self) -> list[Study]:
        """All studies: index 0 of every method, then index 1, so that methods advance together."""
        return [self._study(entry, k) for k in range(self.budget.studies) for entry in self.methods]

    def repeat_seed(self, index: int, repeat: int) -> int:
        """The seed of repeat 1, 2, ... of study `index`, the same for every method."""
        return self.seed + index + REPEAT_SEED * repeat

    def repeat_seeds(self, index: int, repeat: int) -> dict[str, int]:
        """The seeds of repeat 1, 2, ... by axis. Axes that `seeds` pins stay pinned."""
        seed = self.repeat_seed(index, repeat)
        return {axis: derive_seed(seed if axis in FRESH else self.seed, axis) for axis in AXES} | self.seeds

    def _study(self, entry: MethodEntry, index: int) -> Study:
        given = self.given[entry.name]
        resolved = resolve_space(entry, given)
        space, notes = resolved.space, resolved.notes
        seed = self.seed + index
        # The images that take part (data.limit, a drawn test set) are the sweep's: the driver opens one data set.
        seeds = {axis: derive_seed(self.seed if axis == "data" else seed, axis) for axis in AXES} | self.seeds
        base = self._base(entry, given, seeds)
        start, moved = _start(space, base)
        most = self.budget.most_trials
        trials = min(most, _points(space))
        if trials < most:
            only = "nothing is searched" if not space else f"the space has only {trials} points"
            notes.append(f"{only}: {trials} trial{'s' * (trials != 1)}, not {self.budget.trials or 'more'}")
        return Study(
            id=f"{entry.name}/{index}",
            method=entry,
            index=index,
            seed=seed,
            seeds=seeds,
            space=space,
            start=start,
            trials=trials,
            notes=(*notes, *moved),
            base=base,
            fixed=given.fixed,
        )

    def _base(self, entry: MethodEntry, given: Given, seeds: dict[str, int]) -> TrialSpec:
        fixed_train = {k.removeprefix("train."): v for k, v in given.fixed.items() if k.startswith("train.")}
        fixed_hyper = {k: v for k, v in given.fixed.items() if not k.startswith("train.")}
        return TrialSpec(
            method=entry.name,
            hyper=parse(entry.cls.Hyper, fixed_hyper).model_dump(mode="json"),
            model=self.model,
            train=parse(TrainSettings, {**self.train.model_dump(mode="json"), **fixed_train}),
            data=self.data,
            labels=self.labels,
            seeds=seeds,
            code=code_hash(entry.cls, entry.plugin_source, self.plug_ins),
        )


FRESH = ("noise", "split", "init", "order")
"""Axes on which a repeat has seeds of its own. The images that take part stay those of the sweep."""

REPEAT_SEED = 10_000
"""Repeat r of study k uses seed + k + r x this: a plain number, so that a repeat can be trained again as a sweep."""


def _full(entry: MethodEntry, key: str) -> str:
    return key if key.startswith("train.") else f"{entry.name}.{key}"


def _start(space: Space, base: TrialSpec) -> tuple[dict[str, Any], list[str]]:
    """The defaults as a point of the space, and notes on those that had to be moved into their range."""
    start: dict[str, Any] = {}
    notes = []
    for key, entry in space.items():
        if not is_active(space, key, start):
            continue
        train = base.train.model_dump()
        default = train[key.removeprefix("train.")] if key.startswith("train.") else base.hyper[key]
        value: Any = entry.range.nearest(default)
        start[key] = int(value) if entry.range.integer and isinstance(value, float) else value
        if start[key] != default:
            notes.append(f"{key} starts at {show(start[key])}: its default {show(default)} is outside {entry.range}")
    return start, notes


def _points(space: Space) -> int:
    """An upper bound of the number of different points; conditions are not counted."""
    count = 1
    for entry in space.values():
        range_ = entry.range
        if range_.kind in ("uniform", "log_uniform"):
            return sys.maxsize
        if range_.kind == "choice":
            count *= len(range_.arguments)
        else:
            count *= math.floor((range_.high - range_.low) / (range_.step or 1) + 1e-9) + 1
    return count
