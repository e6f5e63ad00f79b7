"""The samplers of budget.sampler. Each is made anew for every proposal from its seed and the study's trials so far.

A sampler's own state (the sequence number of QMC, the covariance of CMA-ES, the generations of NSGA-II) follows from
the order of proposals and ends, which is in the ledger: see `Proposer.replay`.
"""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study as OptunaStudy
from optuna.trial import FrozenTrial

from methods.ranges import Range
from platform.sweepfile import Study

REMEMBERING = ("cmaes", "nsga2")
"""Samplers that store something with a trial when it is proposed; they are asked again when a study is rebuilt."""

STARTUP = 6
"""Trials before a model is fitted to them."""


def make(name: str, study: Study, seed: int, number: int) -> BaseSampler:
    """The sampler called `name` for the trial `number` of Optuna's study, counted from 0."""
    if name == "random":
        return RandomSampler(seed=seed)
    if name == "qmc":
        return _Sequence(study, number)
    if name == "cmaes":
        return _Evolution(study, seed)
    if name == "gp":
        return GPSampler(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
    if name == "nsga2":
        return NSGAIISampler(seed=seed, population_size=population(study.trials))
    if name == "tpe":
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=STARTUP)
    raise ValueError(f"no such sampler: {name!r}")


def population(trials: int) -> int:
    """Trials in a generation of NSGA-II: a quarter of the study, from 4 to Optuna's 50."""
    return max(4, min(50, trials // 4))


def distribution(range_: Range) -> BaseDistribution:
    """Optuna's form of a range."""
    if range_.kind == "choice":
        return CategoricalDistribution(range_.arguments)
    if range_.integer:
        return IntDistribution(int(range_.low), int(range_.high), log=range_.log, step=int(range_.step or 1))
    return FloatDistribution(range_.low, range_.high, log=range_.log, step=range_.step)


class _Sequence(QMCSampler):
    """Scrambled Sobol points over all parameters of the space; what is not active of a point is left out.

    The point is that of the trial's number: Optuna's own counter lives in the study and would start again with it. Its
    own space is that of the first trial, which lacks the parameters that are not active there.
    """

    def __init__(self, study: Study, number: int) -> None:
        independent = RandomSampler(seed=study.seeds["search"] % 2**32)
        super().__init__(
            scramble=True,
            seed=study.seeds["search"] % 2**32,
            independent_sampler=independent,
            warn_independent_sampling=False,
        )
        self._space = {key: distribution(entry.range) for key, entry in study.space.items()}
        self._position = max(0, number - 1)  # trial 0 is the defaults and takes no point

    def infer_relative_search_space(self, study: OptunaStudy, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {key: known for key, known in self._space.items() if not known.single()}

    def _find_sample_id(self, study: OptunaStudy, search_space: dict[str, BaseDistribution]) -> int:
        return self._position


class _Evolution(CmaEsSampler):
    """CMA-ES over the numbers that every trial has; choices and conditional parameters are drawn at random beside it.

    Optuna's own space is what all trials so far have in common; when that shrinks, the optimiser of the larger
    dimension is dropped for good. Stopped trials count with their last value: with a scheduler few others are left, and
    only ranks matter.
    """

    def __init__(self, study: Study, seed: int) -> None:
        super().__init__(seed=seed, consider_pruned_trials=True, warn_independent_sampling=False)
        numbers = {k: e.range for k, e in study.space.items() if not e.when and e.range.kind != "choice"}
        self._space: dict[str, Any] = {key: distribution(range_) for key, range_ in numbers.items()}

    def infer_relative_search_space(self, study: OptunaStudy, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {key: known for key, known in self._space.items() if not known.single()}
