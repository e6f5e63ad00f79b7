"""One study's search through Optuna's ask/tell interface.

Every evaluation is reported, trials that were stopped are told as PRUNED at their step, diverged and failed ones as
FAIL: so the sampler knows how far a value can be trusted. (Ray's own OptunaSearch tells all as COMPLETE.)
"""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from methods.ranges import Range
from platform.spec import derive_seed
from platform.sweepfile import Study
from platform.table import Row

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

STATES = {
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "failed": TrialState.FAIL,
    "preempted": TrialState.FAIL,
}
MAX_DUPLICATES = 20
"""Proposals in a row that were all run before: then the space is taken as exhausted."""


def distribution(range_: Range) -> BaseDistribution:
    """Optuna's form of a range."""
    if range_.kind == "choice":
        return CategoricalDistribution(range_.arguments)
    if range_.integer:
        return IntDistribution(int(range_.low), int(range_.high), log=range_.log, step=int(range_.step or 1))
    return FloatDistribution(range_.low, range_.high, log=range_.log, step=range_.step)


def make_sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of a sweep file's budget.sampler. TPE works on conditional spaces by groups."""
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True, n_startup_trials=6)


def suggest(trial: optuna.Trial, name: str, range_: Range) -> Any:
    """Draw one parameter through Optuna's public interface."""
    if range_.kind == "choice":
        return trial.suggest_categorical(name, range_.arguments)
    if range_.integer:
        return trial.suggest_int(name, int(range_.low), int(range_.high), log=range_.log, step=int(range_.step or 1))
    return trial.suggest_float(name, range_.low, range_.high, log=range_.log, step=range_.step)


class Proposer:
    """Asks and tells one study. `start` (the defaults) is the first proposal, always."""

    def __init__(self, study: Study, sampler: str, maximise: bool) -> None:
        self.study = study
        self.asked = 0  # rows of this study so far, earlier runs included
        self._sampler = sampler
        self._optuna = optuna.create_study(direction="maximize" if maximise else "minimize")
        self._open: dict[str, optuna.Trial] = {}

    def ask(self, attempt: int = 0) -> tuple[optuna.Trial, dict[str, Any]]:
        """The next proposal: active parameters only, in the sweep file's names.

        The sampler is made anew from (seed, row, attempt): a continued search proposes what an undisturbed one would.
        """
        seed = derive_seed(self.study.seeds["search"], self.asked, attempt) % 2**32
        self._optuna.sampler = make_sampler(self._sampler, seed)
        if self.asked == 0 and attempt == 0:
            self._optuna.enqueue_trial(self.study.start)
        trial = self._optuna.ask()
        params: dict[str, Any] = {}
        for name in self.study.space:  # the sweep file puts a parameter before those that depend on it
            if self.study.is_active(name, params):
                params[name] = suggest(trial, name, self.study.space[name].range)
        return trial, params

    def opened(self, key: str, trial: optuna.Trial) -> None:
        """The proposal became a row."""
        self._open[key] = trial
        self.asked += 1

    def reopen(self, row: Row) -> None:
        """Continue a row of an earlier run: the same proposal again, with what was reported of it."""
        self._optuna.enqueue_trial(row.params)
        trial = self._optuna.ask()
        for name in row.params:
            suggest(trial, name, self.study.space[name].range)
        self.opened(row.key, trial)
        for report in row.reports:
            self.report(row.key, report)

    def answer(self, trial: optuna.Trial, row: Row) -> None:
        """A proposal that was run before is answered from its row (still running: as one that gave nothing)."""
        if row.outcome == "completed" and row.score is not None:
            self._optuna.tell(trial, row.score)
        else:
            self._optuna.tell(trial, state=TrialState.FAIL)

    def report(self, key: str, report: dict[str, float]) -> None:
        if report.get("score") is not None:
            self._open[key].report(report["score"], step=int(report["evaluation"]))

    def tell(self, row: Row) -> None:
        trial = self._open.pop(row.key, None)
        if trial is None:
            return
        state = STATES[row.outcome or "failed"]
        if state is TrialState.COMPLETE and row.score is not None:
            self._optuna.tell(trial, row.score)
        else:
            self._optuna.tell(trial, state=state if state is not TrialState.COMPLETE else TrialState.FAIL)

    def replay(self, row: Row) -> None:
        """Feed a row of an earlier run: no pickled sampler is trusted, the ledger is the truth."""
        self.asked += 1
        state = STATES[row.outcome or "failed"]
        values = {int(r["evaluation"]): r["score"] for r in row.reports if r.get("score") is not None}
        self._optuna.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=row.score if state is TrialState.COMPLETE else None,
                params=row.params,
                distributions={n: distribution(self.study.space[n].range) for n in row.params},
                intermediate_values=values,
            )
        )
