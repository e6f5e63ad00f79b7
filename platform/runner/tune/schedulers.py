"""The schedulers of budget.scheduler: one per study, so that no method is stopped for starting slower than another.

The rules are Ray's: its ASHA (stopping variant), its asynchronous Hyperband, its median rule. Ray's synchronous
HyperBandScheduler and its PopulationBasedTraining pause trials and move them between actors by Tune's checkpoints; here
actors are reused and states are ours, so Hyperband is AsyncHyperBandScheduler with several brackets, and
population-based training ends rows and starts new ones (platform/search/population.py).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Protocol

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket

from platform.core.row import Row
from platform.core.rungs import brackets, shares
from platform.core.spec import derive_seed
from platform.dry_run.scheduler_preview import MEDIAN_SAMPLES
from platform.runner.driver import Driver
from platform.runner.tune.branch_states import BranchStates
from platform.runner.tune.callbacks import kept, payload
from platform.search.population import Population
from platform.sweepfile import Study


class Judge(Protocol):
    """What one study's trials are measured by. A row is judged once at each place, whatever restarts it met."""

    def note(self, row: Row, evaluation: int, score: float) -> None:
        """A score that counts for others and stops nothing."""

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        """Note it, and say whether the trial ends here."""
        ...


@dataclass(frozen=True)
class _Known:
    """All that Ray's rules read of a trial."""

    trial_id: str


class Rungs:
    """ASHA: a rung lets those on that are not below the quantile of who was there before. Hyperband: several of them.

    A row's bracket follows from the search seed and its number: Ray draws it from numpy's global generator.
    """

    def __init__(self, study: Study, evaluations: int, reduction_factor: int, grace: int, sign: int, several: bool):
        self._study, self._sign = study, sign
        groups = brackets(evaluations, reduction_factor, grace) if several else [[]]
        most = max(evaluations, grace + 1)
        self._brackets = [_Bracket(grace, most, reduction_factor, first) for first in range(len(groups))]
        self._weights = shares(groups)

    def bracket(self, row: Row) -> int:
        chance = random.Random(derive_seed(self._study.seeds["search"], "bracket", row.number))
        return chance.choices(range(len(self._brackets)), self._weights)[0]

    def note(self, row: Row, evaluation: int, score: float) -> None:
        self.stops(row, evaluation, score)

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        trial: Any = _Known(row.key)
        bracket = self._brackets[self.bracket(row)]
        return bracket.on_result(trial, evaluation, self._sign * score) == TrialScheduler.STOP


class Median:
    """Ray's MedianStoppingRule, which stops at once and pauses nothing."""

    def __init__(self, grace: int, maximise: bool) -> None:
        self._rule = MedianStoppingRule(
            time_attr="evaluation",
            metric="score",
            mode="max" if maximise else "min",
            grace_period=grace,
            min_samples_required=MEDIAN_SAMPLES,
            min_time_slice=math.inf,  # type: ignore[arg-type]  # never pause for want of samples
        )

    def note(self, row: Row, evaluation: int, score: float) -> None:
        known: Any = _Known(row.key)
        if not self._has(known, evaluation):
            self._rule._results[known].append(_result(evaluation, score))

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        known, controller = _Known(row.key), None
        if self._has(known, evaluation):
            return False
        arguments: Any = (controller, known, _result(evaluation, score))
        return self._rule.on_trial_result(*arguments) == TrialScheduler.STOP

    def _has(self, known: Any, evaluation: int) -> bool:
        results = self._rule._results.get(known)
        return bool(results) and results[-1]["evaluation"] >= evaluation


def _result(evaluation: int, score: float) -> dict[str, float]:
    return {"evaluation": evaluation, "score": score}


class Members:
    """Population-based training: keeps the states that children may start from, as long as they may."""

    def __init__(self, driver: Driver, population: Population, states: BranchStates) -> None:
        self._driver, self._population, self._states = driver, population, states

    def note(self, row: Row, evaluation: int, score: float) -> None:
        self._population.note(row.key, evaluation, score)

    def stops(self, row: Row, evaluation: int, score: float) -> bool:
        if evaluation not in self._population.milestones:
            return False
        self._states.take(row.key, evaluation)  # first: a score that is known has a state
        stops = self._population.judge(row.key, evaluation, score)
        self._states.forget(evaluation, self._driver.wanted_states(evaluation))
        return stops


class StudyScheduler(FIFOScheduler):
    """Sends each result to the judge of its study."""

    def __init__(self, driver: Driver, judges: dict[str, Judge]) -> None:
        super().__init__()
        self._driver, self._judges = driver, judges
        for row in driver.rows.values():
            if not row.repeat:
                self._note(row, row.reports)
        for row in driver.unfinished():
            # All evaluations are sent again when the trial comes back. The last is judged then: its end may not have
            # been written any more, and where the ledger lost lines it is not the last that stands there.
            self._note(row, row.reports[:-1])

    def _note(self, row: Row, reports: list[dict[str, float]]) -> None:
        for report in reports:
            if _comparable(report):
                self._judges[row.study].note(row, int(report["evaluation"]), report["score"])

    def _row(self, trial: TuneTrial) -> Row:
        return self._driver.rows[payload(trial)["key"]]

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        row = self._row(trial)
        if row.repeat:  # never stopped
            return TrialScheduler.CONTINUE
        with kept(self._driver):
            self._note(row, result["report"][:-1])  # sent again, or lost from the ledger: they passed once
            stops = _comparable(result) and self._judges[row.study].stops(row, result["evaluation"], result["score"])
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """The last evaluation does not come to `on_trial_result`: the trial has ended by itself."""
        row = self._row(trial)
        if not row.repeat:
            reports = result.get("report", [])
            self._note(row, reports if result.get("outcome") == "completed" else reports[:-1])

    def debug_string(self) -> str:
        return "one scheduler per study"


def make(driver: Driver, states: BranchStates) -> StudyScheduler | None:
    """The scheduler that the sweep asks for; None = every trial runs to its end."""
    budget = driver.sweep.budget
    if budget.scheduler == "none":
        return None
    return StudyScheduler(driver, {study.id: _judge(driver, study, states) for study in driver.sweep.studies()})


def _judge(driver: Driver, study: Study, states: BranchStates) -> Judge:
    budget, evaluations, maximise = driver.sweep.budget, driver.sweep.train.evaluations, driver.rule.maximise
    if budget.scheduler == "median":
        return Median(budget.grace, maximise)
    if budget.scheduler == "pbt":
        population = driver.studies[study.id].population
        assert population is not None
        return Members(driver, population, states)
    sign, several = 1 if maximise else -1, budget.scheduler == "hyperband"
    return Rungs(study, evaluations, budget.reduction_factor, budget.grace, sign, several)


def _comparable(result: dict[str, Any]) -> bool:
    score = result.get("score")
    return score is not None and score == score  # a NaN would sit in the rung for ever
