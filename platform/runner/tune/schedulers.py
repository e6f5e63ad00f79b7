"""The schedulers of budget.scheduler: one per study, so that no method is stopped for starting slower than another.

The rules are those of Ray's schedulers (platform/core/stopping_rules.py). These keep no history across restarts of a
sweep and draw a trial's bracket from a global generator; HyperBandScheduler and PopulationBasedTraining also pause
trials and move them between actors by Tune's checkpoints. Here the ledger is the history and actors are reused:
Hyperband is the asynchronous one, population-based training ends rows and starts new ones (search/population.py).
"""

from __future__ import annotations

import random
from typing import Any, Protocol, TypeGuard

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from platform.core.row import Row
from platform.core.rungs import brackets, rungs, shares
from platform.core.spec import derive_seed
from platform.core.stopping_rules import MedianStopping, SuccessiveHalving
from platform.runner.driver import Driver
from platform.runner.messages import assignment_of, progress_of
from platform.runner.tune.branch_states import BranchStates
from platform.runner.tune.callbacks import keep_failure
from platform.search.population import Population
from platform.sweepfile import Study

__all__ = ["HalvingRule", "MedianRule", "PopulationRule", "StoppingRule", "StudyScheduler", "make"]


class StoppingRule(Protocol):
    """Decides which rows of one study end early. A row's evaluation counts once, whatever restarts it met."""

    def record(self, row: Row, evaluation: int, score: float) -> None:
        """Take note of a score that counts for other rows only."""

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        """Record the score, and return whether the row ends here."""
        ...


class HalvingRule:
    """ASHA, and asynchronous Hyperband where there are `several` brackets. sign: -1 where lower scores are better.

    A row's bracket follows from the search seed and its number: a sweep that goes on puts it into the same one.
    """

    def __init__(self, study: Study, evaluations: int, reduction_factor: int, grace: int, sign: int, several: bool):
        self._study, self._sign = study, sign
        groups = brackets(evaluations, reduction_factor, grace) if several else [[]]
        # A rung at the last evaluation stops nothing; a row's last score is kept there, not at a rung that it missed.
        milestones = rungs(evaluations + 1, reduction_factor, grace)
        self._brackets = [SuccessiveHalving(milestones[first:], reduction_factor) for first in range(len(groups))]
        self._weights = shares(groups)

    def bracket(self, row: Row) -> int:
        """Number of the row's bracket, from 0."""
        generator = random.Random(derive_seed(self._study.seeds["search"], "bracket", row.number))
        return generator.choices(range(len(self._brackets)), self._weights)[0]

    def record(self, row: Row, evaluation: int, score: float) -> None:
        self.stops(row, evaluation, score)

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        return self._brackets[self.bracket(row)].stops(row.key, evaluation, self._sign * score)


class MedianRule:
    """The median stopping rule. sign: -1 where lower scores are better."""

    def __init__(self, grace: int, sign: int) -> None:
        self._rule, self._sign = MedianStopping(grace), sign

    def record(self, row: Row, evaluation: int, score: float) -> None:
        self._rule.record(row.key, evaluation, self._sign * score)

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        return self._rule.stops(row.key, evaluation, self._sign * score)


class PopulationRule:
    """Population-based training: keeps the states that children may start from, as long as they may."""

    def __init__(self, driver: Driver, population: Population, states: BranchStates) -> None:
        self._driver, self._population, self._states = driver, population, states

    def record(self, row: Row, evaluation: int, score: float) -> None:
        self._population.note(row.key, evaluation, score)

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        if evaluation not in self._population.milestones:
            return False
        self._states.keep(row.key, evaluation)  # first: a score that is known has a state
        stops = self._population.judge(row.key, evaluation, score)
        self._states.drop(evaluation, self._driver.wanted_states(evaluation))
        return stops


class StudyScheduler(FIFOScheduler):
    """Applies to each result the stopping rule of its study."""

    def __init__(self, driver: Driver, rules: dict[str, StoppingRule]) -> None:
        super().__init__()
        self._driver, self._rules = driver, rules
        for row in driver.rows.values():
            if not row.repeat:
                self._record(row, row.reports)
        for row in driver.unfinished():
            # All evaluations are sent again when the trial comes back. The last one decides then: its end may not have
            # been written any more, and where the ledger lost lines it is not the last that stands there.
            self._record(row, row.reports[:-1])

    def _record(self, row: Row, reports: list[dict[str, float]]) -> None:
        for report in reports:
            if _comparable(score := report.get("score")):
                self._rules[row.study].record(row, int(report["evaluation"]), score)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        row, progress = self._row(trial), progress_of(result)
        if row.repeat or progress is None:  # a repeat is never stopped
            return TrialScheduler.CONTINUE
        with keep_failure(self._driver):
            self._record(row, progress.reports[:-1])  # sent again, or lost from the ledger: they passed once
            score = progress.score
            stops = _comparable(score) and self._rules[row.study].stops(row, progress.evaluation, score)
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """The last evaluation does not come to `on_trial_result`: the trial has ended by itself."""
        row, progress = self._row(trial), progress_of(result)
        if not row.repeat and progress is not None:
            completed = progress.outcome == "completed"
            self._record(row, progress.reports if completed else progress.reports[:-1])

    def _row(self, trial: TuneTrial) -> Row:
        return self._driver.rows[assignment_of(trial).key]

    def debug_string(self) -> str:
        return "one scheduler per study"


def make(driver: Driver, states: BranchStates) -> StudyScheduler | None:
    """The scheduler that the sweep asks for; None = every trial runs to its end."""
    budget = driver.sweep.budget
    if budget.scheduler == "none":
        return None
    return StudyScheduler(driver, {study.id: _rule(driver, study, states) for study in driver.sweep.studies()})


def _rule(driver: Driver, study: Study, states: BranchStates) -> StoppingRule:
    budget, evaluations = driver.sweep.budget, driver.sweep.train.evaluations
    sign = 1 if driver.rule.maximise else -1
    if budget.scheduler == "median":
        return MedianRule(budget.grace, sign)
    if budget.scheduler == "pbt":
        population = driver.studies[study.id].population
        assert population is not None  # the study runs were made for this scheduler
        return PopulationRule(driver, population, states)
    several = budget.scheduler == "hyperband"
    return HalvingRule(study, evaluations, budget.reduction_factor, budget.grace, sign, several)


def _comparable(score: float | None) -> TypeGuard[float]:
    """Whether a score can be compared: a NaN cannot, and would stay in its rung for ever."""
    return score is not None and score == score
