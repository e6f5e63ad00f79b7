"""One study's search through Optuna's ask/tell interface.

Every evaluation is reported, trials that were stopped are told as PRUNED at their step, diverged and failed ones as
FAIL: so the sampler knows how far a value can be trusted. (Ray's own OptunaSearch tells all as COMPLETE.)
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import optuna
from optuna.trial import TrialState

from platform.core.row import Row
from platform.core.spec import derive_seed
from platform.search import samplers
from platform.search.distributions import suggest
from platform.sweepfile import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)

MAX_DUPLICATES = 20
"""Proposals in a row that were all run before: then the space is taken as exhausted."""


class Asked(NamedTuple):
    """One proposal: active parameters only, in the sweep file's names, and the key of its row.

    known: the study has that row already, and the proposal was answered with its values (None: it gave none so far).
    parent, replaces: of population-based training, whose children are no proposals of the search.
    """

    params: dict[str, Any]
    key: str
    known: bool = False
    values: list[float] | None = None
    parent: str = ""
    replaces: str = ""


class Proposer:
    """Asks and tells one study. `start` (the defaults) is the first proposal, always.

    objectives: "score" by the rule's sign and, if asked for, "seconds", which are to be few.
    The sampler is made anew for each ask from (seed, row, attempt), and Optuna's study from the ledger: so a continued
    search proposes what an undisturbed one would. Not for two threads at once.
    """

    def __init__(self, study: Study, sampler: str, maximise: bool, objectives: Sequence[str] = ("score",)) -> None:
        self.study = study
        self.asked = 0  # rows of this study so far, earlier runs included
        self.duplicates = 0
        self.seconds = 0.0  # spent in here
        self._sampler, self._objectives = sampler, tuple(objectives)
        signs: list[Literal["maximize", "minimize"]] = ["maximize" if maximise else "minimize", "minimize"]
        self._optuna = optuna.create_study(directions=signs[: len(self._objectives)])
        self._open: dict[str, optuna.Trial] = {}
        self._attempt = 0

    def propose(self, known: Mapping[str, Row], key_of: Callable[[dict[str, Any]], str]) -> list[Asked]:
        """Ask until a proposal is new; all that were asked, the new one last (or none: nothing new was found).

        known: rows of this study by key.
        """
        found: list[Asked] = []
        with self._timed():
            while len(found) < MAX_DUPLICATES:
                trial = self._draw(self.study.start if self.asked == self._attempt == 0 else None)
                key = key_of(trial.params)
                again = known.get(key)
                values = None if again is None else self._values(again)
                found.append(Asked(dict(trial.params), key, again is not None, values))
                self._note(trial, found[-1])
                if again is None:
                    break
        return found

    def replay(self, asked: Asked, over: bool) -> None:
        """A proposal of an earlier run, in the ledger's order among the others and the ends. over: its row has ended.

        No pickled sampler is trusted: what a sampler notes at an ask, it notes anew.
        """
        with self._timed():
            self._note(self._draw(asked.params, remember=not over), asked)

    def tell(self, row: Row) -> None:
        """How a row ended, with everything it reported. A row that is not of the search (a child) is left out."""
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

    def _note(self, trial: optuna.Trial, asked: Asked) -> None:
        if not asked.known:
            self._open[asked.key] = trial
            self.asked, self._attempt = self.asked + 1, 0
            return
        self.duplicates, self._attempt = self.duplicates + 1, self._attempt + 1
        self._optuna.tell(trial, asked.values, TrialState.FAIL if asked.values is None else None)

    def _values(self, row: Row) -> list[float] | None:
        """What the search maximises and minimises; None of a row that did not complete."""
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
