"""One study's search through Optuna's ask/tell interface.

Every evaluation is reported to Optuna; a trial that was stopped ends as PRUNED at its step, a diverged or failed one as
FAIL, so that the sampler weighs its value accordingly. (Ray's own OptunaSearch ends all of them as COMPLETE.)
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from methods.ranges import Range
from platform.core.events import Proposal
from platform.core.row import Row
from platform.core.spec import derive_seed
from platform.search import samplers
from platform.sweepfile import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

MAX_DUPLICATES = 20
"""Consecutive proposals that were all run before, after which the space counts as exhausted."""


class Proposer:
    """Asks Optuna for the trials of one study and tells it their results. `start` (the defaults) is the first proposal.

    objectives: "score" in the direction of the rule and, optionally, "seconds", minimised.
    The sampler is made anew for each ask from (seed, row, attempt), and Optuna's study from the ledger: so a continued
    search proposes what an undisturbed one would. Not thread-safe.
    """

    def __init__(self, study: Study, sampler: str, maximise: bool, objectives: Sequence[str] = ("score",)) -> None:
        self.study = study
        self.asked = 0  # rows of this study so far, earlier runs included
        self.duplicates = 0
        self.seconds = 0.0  # spent in this class
        self._sampler, self._objectives = sampler, tuple(objectives)
        signs: list[Literal["maximize", "minimize"]] = ["maximize" if maximise else "minimize", "minimize"]
        self._optuna = optuna.create_study(directions=signs[: len(self._objectives)])
        self._open: dict[str, optuna.Trial] = {}
        self._attempt = 0

    def propose(self, known: Mapping[str, Row], key_of: Callable[[dict[str, Any]], str]) -> list[Proposal]:
        """Ask until a proposal is new. All proposals in order; the last is new unless MAX_DUPLICATES were known.

        known: rows of this study by key.
        """
        proposals: list[Proposal] = []
        with self._timed():
            while len(proposals) < MAX_DUPLICATES:
                trial = self._draw(self.study.start if self.asked == self._attempt == 0 else None)
                key = key_of(trial.params)
                row = known.get(key)
                values = None if row is None else self._values(row)
                proposals.append(Proposal(dict(trial.params), key, row is not None, values))
                self._note(trial, proposals[-1])
                if row is None:
                    break
        return proposals

    def replay(self, proposal: Proposal, over: bool) -> None:
        """Repeat a proposal of an earlier run, in the ledger's order of proposals and ends. over: its row has ended.

        The sampler is asked again and so rebuilds its own state, which is pickled nowhere.
        """
        with self._timed():
            self._note(self._draw(proposal.params, remember=not over), proposal)

    def tell(self, row: Row) -> None:
        """Tell Optuna how a row ended, and its evaluations. Rows that Optuna did not propose (children) are ignored."""
        trial = self._open.pop(row.key, None)
        if trial is None:
            return
        with self._timed():
            if len(self._objectives) == 1:  # Optuna has intermediate values for one objective only
                for report in row.reports:
                    if report.get("score") is not None:
                        trial.report(report["score"], step=int(report["evaluation"]))
            values = self._values(row)
            stopped = row.outcome == "pruned" and len(self._objectives) == 1
            state = TrialState.PRUNED if stopped else TrialState.FAIL
            self._optuna.tell(trial, values, state if values is None else None)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _draw(self, params: dict[str, Any] | None, remember: bool = False) -> optuna.Trial:
        """A trial of Optuna with its active parameters drawn, or set to `params`."""
        seed = derive_seed(self.study.seeds["search"], self.asked, self._attempt) % 2**32
        self._optuna.sampler = samplers.make(self._sampler, self.study, seed, self.asked + self.duplicates)
        if params is not None:
            self._optuna.enqueue_trial(params)
        trial = self._optuna.ask()
        if remember or self._sampler in samplers.REMEMBERING:
            _ = trial.relative_params  # where all are set Optuna does not ask the sampler, which then notes nothing
        for name in self.study.space:  # the sweep file puts a parameter before those that depend on it
            if name in params if params is not None else self.study.is_active(name, trial.params):
                suggest(trial, name, self.study.space[name].range)
        return trial

    def _note(self, trial: optuna.Trial, proposal: Proposal) -> None:
        if not proposal.known:
            self._open[proposal.key] = trial
            self.asked, self._attempt = self.asked + 1, 0
            return
        self.duplicates, self._attempt = self.duplicates + 1, self._attempt + 1
        self._optuna.tell(trial, proposal.values, TrialState.FAIL if proposal.values is None else None)

    def _values(self, row: Row) -> list[float] | None:
        """The objectives of a completed row; None for any other."""
        if row.outcome != "completed" or row.score is None or row.score != row.score:
            return None
        return [row.score, row.seconds][: len(self._objectives)]

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begin


def suggest(trial: optuna.Trial, name: str, range_: Range) -> Any:
    """Draw one parameter through Optuna's public interface."""
    if range_.kind == "choice":
        return trial.suggest_categorical(name, range_.arguments)
    if range_.integer:
        return trial.suggest_int(name, int(range_.low), int(range_.high), log=range_.log, step=int(range_.step or 1))
    return trial.suggest_float(name, range_.low, range_.high, log=range_.log, step=range_.step)
