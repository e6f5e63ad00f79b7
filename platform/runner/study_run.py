"""One study of a sweep while it runs: its search, its population, its budget, its repeats and its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from platform.core.events import Proposal
from platform.core.ledger import ATTEMPTED, StudyHistory
from platform.core.row import Outcome, Row, winner
from platform.core.rungs import evaluation_steps
from platform.runner.repeats import Repeats
from platform.search.population import Population
from platform.search.proposer import MAX_DUPLICATES, Proposer
from platform.search.queue import StudyQueue
from platform.search.spending import Spending
from platform.sweepfile import Study, Sweep

__all__ = ["StudyRun"]


class StudyRun:
    """Continues a study from its history and answers what it runs next, how much is left and whether it is complete.

    labels: hash of the label plan by (study index, repeat), repeat 0 = the search; with data_hash part of every spec.
    table: the rows of the sweep by key; those of the study are added to it in the order in which they are taken up.
    record: called with each new proposal, in order.
    """

    def __init__(
        self,
        sweep: Sweep,
        study: Study,
        maximise: bool,
        data_hash: str,
        labels: Mapping[tuple[int, int], str],
        history: StudyHistory,
        table: dict[str, Row],
        record: Callable[[Proposal], None],
    ) -> None:
        budget = sweep.budget
        self.study, self.maximise = study, maximise
        self.rows: dict[str, Row] = {}
        self.spending = Spending(budget.seconds)
        self.population: Population | None = None
        self._sweep, self._data_hash, self._labels = sweep, data_hash, labels
        self._known, self._table = history.rows, table
        self._repeats = Repeats(sweep, study, data_hash, labels, history.rows, self._runs_again)
        proposer = Proposer(study, budget.sampler, maximise, budget.objectives)
        self.queue = StudyQueue(study, proposer, self._make_row, record)
        self._recall(history)

    # -- rows of earlier runs ----------------------------------------------------------------------------------------

    def _recall(self, history: StudyHistory) -> None:
        for row in self.queue.recall(history, self._runs_again):
            self._add(row)
        if self._sweep.budget.scheduler == "pbt":
            self._recall_population()
        for row in [*self.rows.values(), *self.queue.waiting]:
            self.spending.note(row)
        if self.spending.used_up:
            self._start_no_more()
        for row in history.rows.values():  # also repeats of an earlier winner: their seconds were spent
            if row.repeat and not self._runs_again(row):
                self._add(row)

    def _recall_population(self) -> None:
        train = self._sweep.train
        evaluations = len(evaluation_steps(train.steps, train.evaluations))
        population = Population(self.study, evaluations, self._sweep.budget.grace, self.maximise)
        self.population = population
        for row in self.rows.values():
            for report in row.reports:
                population.note(row.key, int(report["evaluation"]), report.get("score"))
        for row in list(self.rows.values()):  # the earlier run may have ended before it recorded the successor
            milestone = int(row.reports[-1]["evaluation"]) if row.reports else 0
            if row.outcome == "pruned" and population.is_worst(row.key, milestone):
                population.ended[row.key] = milestone
                if row.key in self.queue.succeeded or not self.queue.succeeded_by_orphan(row.key, milestone):
                    self.succeed(row)

    def _runs_again(self, row: Row) -> bool:
        """Whether a row of an earlier run runs: it did not end, or `retry:` leaves it an attempt."""
        if row.outcome in ATTEMPTED:
            retry = self._sweep.retry
            return row.failures <= (retry.failed if row.outcome == "failed" else retry.diverged)
        return row.outcome in (None, "preempted")

    def _make_row(self, params: dict[str, Any], number: int, parent: str = "") -> Row:
        study = self.study
        spec = study.resolve(params, self._data_hash, self._labels[study.index, 0])
        spec = spec.model_copy(update={"parent": parent})
        return Row(spec.key, study.method.name, study.id, study.seed, number, params, spec)

    def _add(self, row: Row) -> None:
        self.rows[row.key] = self._table[row.key] = row

    # -- what it answers ---------------------------------------------------------------------------------------------

    @property
    def best(self) -> Row | None:
        """The winner so far: completed trials only, by the rule."""
        return winner(list(self.rows.values()), self.maximise)

    @property
    def search_over(self) -> bool:
        """Whether the winner is settled: all trials of the search have ended, none was interrupted."""
        search = (row for row in self.rows.values() if not row.repeat)
        return not self.queue.has_more and all(row.outcome not in (None, "preempted") for row in search)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to run: the search is over and every repeat has ended."""
        ended = all(row.outcome not in (None, "preempted") for row in self.rows.values())
        return ended and self.search_over and not self._missing_repeats()

    @property
    def left(self) -> int:
        """Number of rows that are still to be started, at most."""
        if self.search_over:
            return len(self._missing_repeats())
        queue = self.queue
        proposals = 0 if queue.exhausted else max(0, self.study.trials - queue.proposer.asked)
        return len(queue.waiting) + proposals + self._sweep.budget.repeats

    @property
    def expecting(self) -> bool:
        """Whether a row that runs now may be followed by others although there is none to start: repeats, children."""
        more = bool(self._sweep.budget.repeats or self.population)
        return more and any(row.outcome is None for row in self.rows.values())

    @property
    def unfinished(self) -> list[Row]:
        """Rows of earlier runs that go on, with the evaluations they reported then."""
        return [row for row in self.queue.waiting if row.outcome not in ATTEMPTED]

    def wanted_states(self, evaluation: int) -> set[str]:
        """States at an evaluation that a child may start from, now or later: KEY@EVALUATION."""
        rows = [*self.rows.values(), *self.unfinished]
        awaited = {row.spec.parent for row in rows if row.outcome in (None, "preempted") and not row.reports}
        kept = self.population.kept(evaluation) if self.population else []
        return awaited | {f"{key}@{evaluation}" for key in kept}

    # -- rows that start ---------------------------------------------------------------------------------------------

    @property
    def may_ask(self) -> bool:
        """Whether a proposal may be requested ahead of a free slot."""
        return not self.spending.used_up and self.queue.has_more

    def ask(self, pool: ThreadPoolExecutor) -> None:
        """Request a proposal in the background."""
        self.queue.ask(pool, {row.key: row for row in self.rows.values() if not row.repeat})

    def next_row(self, pool: ThreadPoolExecutor) -> Row | None:
        """Start the next row of the search, proposed now if none waits; None where there is none."""
        if self.spending.used_up:
            self._start_no_more()
        if not self.queue.waiting and self.queue.has_more:
            self.ask(pool)
            self.queue.collect()
        return self._start(self.queue.waiting.pop(0)) if self.queue.waiting else None

    def next_repeat(self) -> Row | None:
        """Start the next repeat of the winner; None where there is none, or none yet."""
        missing = self._missing_repeats()
        return self._start(missing[0]) if missing else None

    def _missing_repeats(self) -> list[Row]:
        return self._repeats.missing(self.best, self.rows) if self._sweep.budget.repeats and self.search_over else []

    def _start_no_more(self) -> None:
        """The seconds are spent: only rows that were under way go on; failed ones are not tried again."""
        self.queue.collect()
        self.queue.exhausted = True
        given_up = [row for row in self.queue.waiting if row.outcome in ATTEMPTED]
        for row in given_up:
            self._add(row)
        self.queue.waiting = [row for row in self.queue.waiting if row.key in self._known and row not in given_up]

    def _start(self, row: Row) -> Row:
        if row.outcome in ATTEMPTED:  # a new attempt, from the first step
            row.earlier = row.spent
            row.reports, row.steps, row.seconds, row.accumulate = [], 0, 0.0, 1
        row.outcome, row.error = None, ""
        self._add(row)
        return row

    # -- rows that run -----------------------------------------------------------------------------------------------

    def report(self, row: Row, report: dict[str, float]) -> bool:
        """Add an evaluation to its row. False where it is known: a trial that comes back sends earlier ones again."""
        if report["evaluation"] <= (row.reports[-1]["evaluation"] if row.reports else 0):
            return False
        row.reports.append(report)
        row.steps, row.seconds = int(report["step"]), report["seconds"]
        self.spending.note(row)
        return True

    def end(self, row: Row, outcome: Outcome, error: str) -> None:
        """Give a row its outcome and tell the search."""
        row.outcome, row.error = outcome, error
        row.failures += outcome in ATTEMPTED
        if row.reports and outcome in ("completed", "pruned"):
            row.score = row.reports[-1].get("score")
            row.test_accuracy = row.reports[-1].get("test_accuracy")
        self.spending.note(row)
        self.queue.proposer.tell(row)

    def succeed(self, row: Row) -> None:
        """Population-based training: queue a child of one of the best as the successor of a row of the worst."""
        population = self.population
        if population is None or row.outcome != "pruned":
            return
        if row.key not in population.ended or row.key in self.queue.succeeded:
            return
        parent, milestone = population.parent(row.key)
        for attempt in range(MAX_DUPLICATES):
            params = population.changed(self.rows[parent].params, row.key, attempt)
            child = self.queue.adopt(params, f"{parent}@{milestone}", row.key, self.rows)
            if child is not None:
                reports = self.rows[parent].reports
                child.steps = next(int(r["step"]) for r in reports if r["evaluation"] == milestone)  # it starts there
                return
