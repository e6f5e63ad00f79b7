"""The driver's book: which row runs next, what is known of each, who is told. Knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from platform.core.events import Listener, SweepEnded, TrialEnded, TrialProposed, TrialReported, TrialStarted
from platform.core.ledger import ATTEMPTED, Ledger
from platform.core.row import Row, winner
from platform.core.rungs import evaluation_steps
from platform.runner.messages import Progress
from platform.runner.repeats import Repeats
from platform.search.population import Population
from platform.search.proposer import MAX_DUPLICATES, Asked, Proposer
from platform.search.queue import StudyQueue, cost_of_search
from platform.search.spending import Spending
from platform.sweepfile import Study, Sweep
from platform.training.selection import Rule


class Driver:
    """Hands out rows round-robin over the studies and passes every event to the listeners, the ledger first.

    hashes: (data hash, labels hash by study index), part of every spec. repeat_labels: the latter of repeats, by study
    index and repeat.
    """

    def __init__(
        self,
        sweep: Sweep,
        rule: Rule,
        ledger: Ledger,
        listeners: list[Listener],
        hashes: tuple[str, dict[int, str]],
        repeat_labels: Mapping[tuple[int, int], str] | None = None,
    ) -> None:
        self.sweep, self.rule, self.ledger = sweep, rule, ledger
        self.listeners: list[Listener] = [ledger, *listeners]
        self.rows: dict[str, Row] = {}
        self.remarks: list[str] = []  # what to say when the sweep ends
        self.complete: set[str] = set()  # studies whose search has ended; known when the sweep ends
        self.spending = Spending(sweep.budget.seconds)
        self._hashes = hashes
        self._repeats = Repeats(sweep, hashes[0], repeat_labels or {}, ledger.rows, self._again)
        self._first_asked: float | None = None
        self._pool = ThreadPoolExecutor(1, "search")
        self.populations: dict[str, Population] = {}  # of population-based training, by study
        self._studies = [self._open(study) for study in sweep.studies()]
        self._turn = 0
        self.failure: Exception | None = None  # what a listener raised
        self.notify: Callable[[str], None] = lambda text: None  # a line for the person at the screen

    def _open(self, study: Study) -> StudyQueue:
        data_hash, labels = self._hashes

        def make_row(params: dict[str, Any], number: int, parent: str = "") -> Row:
            spec = study.resolve(params, data_hash, labels[study.index]).model_copy(update={"parent": parent})
            return Row(spec.key, study.method.name, study.id, study.seed, number, params, spec)

        def record(asked: Asked) -> None:
            self.ledger.handle(TrialProposed(study.id, asked._asdict()))

        budget, maximise = self.sweep.budget, self.rule.maximise
        proposer = Proposer(study, budget.sampler, maximise, budget.objectives)
        queue = StudyQueue(study, proposer, make_row, record)
        for row in queue.recall(self.ledger.history, self.ledger.rows, self._again):
            self.rows[row.key] = row
        if budget.scheduler == "pbt":
            self._open_population(queue)
        for row in [*self.rows.values(), *queue.waiting]:
            if row.study == study.id:
                self.spending.note(row)
        if self.spending.used_up(study.id):
            self._starts_no_more(queue)
        for row in self.ledger.rows.values():  # also those of a winner of before: they were paid for
            if row.study == study.id and row.repeat and not self._again(row):
                self.rows[row.key] = row
        return queue

    def _open_population(self, queue: StudyQueue) -> None:
        train, study = self.sweep.train, queue.study
        evaluations = len(evaluation_steps(train.steps, train.evaluations))
        population = Population(study, evaluations, self.sweep.budget.grace, self.rule.maximise)
        self.populations[study.id] = population
        mine = [row for row in self.rows.values() if row.study == study.id]
        for row in mine:
            for report in row.reports:
                population.note(row.key, int(report["evaluation"]), report.get("score"))
        for row in mine:  # its child was not written any more
            mark = int(row.reports[-1]["evaluation"]) if row.reports else 0
            if row.outcome == "pruned" and population.is_worst(row.key, mark):
                population.ended[row.key] = mark
                self._succeed(queue, row)

    def _again(self, row: Row) -> bool:
        """Whether a row of an earlier run is run: it did not end, or `retry:` leaves it an attempt."""
        if row.outcome in ATTEMPTED:
            retry = self.sweep.retry
            return row.failures <= (retry.failed if row.outcome == "failed" else retry.diverged)
        return row.outcome in (None, "preempted")

    # -- rows out ----------------------------------------------------------------------------------------------------

    def next_row(self) -> Row | None:
        """The next row to run, or None when every study has its trials."""
        self._first_asked = self._first_asked or time.monotonic()
        for _ in self._studies:
            queue = self._studies[self._turn % len(self._studies)]
            self._turn += 1
            row = self._next(queue)
            if row is not None:
                return row
        missing = (row for queue in self._studies for row in self._missing_repeats(queue))
        row = next(missing, None)
        return None if row is None else self._begin(row)

    @property
    def expecting(self) -> bool:
        """Whether there may be rows later although `next_row` has none now: repeats, once what runs has ended, and
        children."""
        more = bool(self.sweep.budget.repeats or self.populations)
        return more and any(row.outcome is None for row in self.rows.values())

    def left(self) -> int:
        """At most so many rows are to be run; 0 = nothing is."""
        return sum(self._left(queue) for queue in self._studies)

    def _left(self, queue: StudyQueue) -> int:
        if self._search_over(queue):
            return len(self._missing_repeats(queue))
        proposals = 0 if queue.exhausted else max(0, queue.study.trials - queue.proposer.asked)
        return len(queue.waiting) + proposals + self.sweep.budget.repeats

    def _missing_repeats(self, queue: StudyQueue) -> list[Row]:
        if not self.sweep.budget.repeats or not self._search_over(queue):
            return []
        return self._repeats.missing(queue.study, self.best(queue.study.id), self.rows)

    def _search_over(self, queue: StudyQueue) -> bool:
        """Whether the study's winner is settled: all its trials have ended, none was interrupted."""
        rows = (row for row in self.rows.values() if row.study == queue.study.id and not row.repeat)
        return not queue.has_more and all(row.outcome not in (None, "preempted") for row in rows)

    def _starts_no_more(self, queue: StudyQueue) -> None:
        """Its seconds are spent: only what was under way goes on; what failed is not tried again."""
        queue.collect()
        queue.exhausted = True
        given_up = [row for row in queue.waiting if row.outcome in ATTEMPTED]
        self.rows |= {row.key: row for row in given_up}
        queue.waiting = [row for row in queue.waiting if row.key in self.ledger.rows and row not in given_up]

    def _next(self, queue: StudyQueue) -> Row | None:
        if self.spending.used_up(queue.study.id):
            self._starts_no_more(queue)
        if not queue.waiting and queue.has_more:
            self._ask(queue)
            queue.collect()
        if not queue.waiting:
            return None
        return self._begin(queue.waiting.pop(0))

    def _begin(self, row: Row) -> Row:
        if row.outcome in ATTEMPTED:  # a new attempt, from the start
            row.earlier = row.spent
            row.reports, row.steps, row.seconds, row.accumulate = [], 0, 0.0, 1
        row.outcome, row.error = None, ""
        self._start(row)
        return row

    def ask_ahead(self) -> None:
        """Ask for the next row in the background, where none waits. To be called when a row has started.

        One, not one per slot: each row asked ahead does without the results of those that end before it starts.
        """
        if any(queue.waiting or queue.asking for queue in self._studies):
            return
        count = len(self._studies)
        turn = (self._studies[(self._turn + offset) % count] for offset in range(count))
        open_ = (queue for queue in turn if not self.spending.used_up(queue.study.id))
        queue = next((queue for queue in open_ if queue.has_more), None)
        if queue is not None:
            self._ask(queue)

    def _ask(self, queue: StudyQueue) -> None:
        study = queue.study.id
        known = {row.key: row for row in self.rows.values() if row.study == study and not row.repeat}
        queue.ask(self._pool, known)

    def _collect(self) -> None:
        for queue in self._studies:
            queue.collect()

    def _start(self, row: Row) -> None:
        self.rows[row.key] = row
        for listener in self.listeners:
            listener.handle(TrialStarted(row))

    # -- events in ---------------------------------------------------------------------------------------------------

    def reported(self, progress: Progress, done: bool = False) -> None:
        """Take a trial's evaluations, and its end: an outcome, or `done` without one: it was stopped early.

        Evaluations that are known (the trial came back) are passed over, as is everything about a row that has ended.
        """
        row = self.rows[progress.key]
        if row.outcome is not None:
            return
        *before, last = progress.reports or [{}]
        for report in before:
            self._evaluated(row, report)
        self._note_parts(row, progress.parts)
        if progress.notice:
            self.notify(f"{row.study} #{row.number}: {progress.notice}")
        self._evaluated(row, last)
        if progress.outcome or done:
            row.seconds = max(row.seconds, progress.seconds)  # also what it did after its last evaluation
            self.ended(progress.key, progress.outcome or "pruned", progress.error)

    def _evaluated(self, row: Row, report: dict[str, float]) -> None:
        if not report or report["evaluation"] <= (row.reports[-1]["evaluation"] if row.reports else 0):
            return
        row.reports.append(report)
        row.steps, row.seconds = int(report["step"]), report["seconds"]
        self.spending.note(row)
        for listener in self.listeners:
            listener.handle(TrialReported(row, report))

    def ended(self, key: str, outcome: Any, error: str = "") -> None:
        row = self.rows[key]
        if row.outcome is not None:
            return
        self._collect()
        row.outcome, row.error = outcome, error
        row.failures += outcome in ATTEMPTED
        if row.reports and outcome in ("completed", "pruned"):
            row.score = row.reports[-1].get("score")
            row.test_accuracy = row.reports[-1].get("test_accuracy")
        self.spending.note(row)
        queue = self._queue(row)
        queue.proposer.tell(row)
        for listener in self.listeners:
            listener.handle(TrialEnded(row))
        if row.study in self.populations:
            self._succeed(queue, row)

    def _succeed(self, queue: StudyQueue, row: Row) -> None:
        """Population-based training: a row of the worst at a mark is followed by a child of one of the best there."""
        population = self.populations[row.study]
        if row.outcome != "pruned" or row.key not in population.ended or row.key in queue.succeeded:
            return
        parent, mark = population.parent(row.key)
        for attempt in range(MAX_DUPLICATES):
            params = population.changed(self.rows[parent].params, row.key, attempt)
            child = queue.adopt(params, f"{parent}@{mark}", row.key, self.rows)
            if child is not None:
                reports = self.rows[parent].reports
                child.steps = next(int(r["step"]) for r in reports if r["evaluation"] == mark)  # it starts from there
                return

    def wanted_states(self, evaluation: int) -> set[str]:
        """States at an evaluation that a child may start from, now or later: KEY@EVALUATION."""
        rows = [*self.rows.values(), *self.unfinished()]
        awaited = {row.spec.parent for row in rows if row.outcome in (None, "preempted") and not row.reports}
        of = self.populations.values()
        return awaited | {f"{key}@{evaluation}" for population in of for key in population.kept(evaluation)}

    def unfinished(self) -> list[Row]:
        """Rows of earlier runs that go on, with what they reported then."""
        return [row for queue in self._studies for row in queue.waiting if row.outcome not in ATTEMPTED]

    def overspends(self, key: str, seconds: float) -> bool:
        """Whether a trial is to end at this evaluation, having trained `seconds`: its study's seconds are spent."""
        row = self.rows[key]
        return row.outcome is None and self.spending.ends(row, seconds)

    def _note_parts(self, row: Row, parts: int) -> None:
        if parts != row.accumulate:
            row.accumulate = parts
            self.notify(
                f"{row.study} #{row.number} did not fit into memory: from evaluation {len(row.reports) + 1} on "
                f"its batches are split in {parts}, and their gradients added"
            )

    def close(self) -> list[Row]:
        """Rows that still run were interrupted: they go on from their checkpoint next time."""
        self._collect()
        self._pool.shutdown()
        for row in list(self.rows.values()):
            if row.outcome is None:
                self.ended(row.key, "preempted")
        self.complete |= {queue.study.id for queue in self._studies if self._search_over(queue)}
        if self._first_asked:
            wall = time.monotonic() - self._first_asked
            self.remarks.append(cost_of_search(self.sweep.budget.sampler, self._studies, wall))
        rows = list(self.rows.values())
        for listener in self.listeners:
            listener.handle(SweepEnded(rows))
        return rows

    def best(self, study: str) -> Row | None:
        """The winner of a study so far: completed trials only, by the rule."""
        return winner([row for row in self.rows.values() if row.study == study], self.rule.maximise)

    def __deepcopy__(self, memo: Any) -> Driver:
        """Tune copies its configuration; there is one book."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its configuration to restore it; ours is never restored, the ledger is the truth."""
        return (object, ())

    def _queue(self, row: Row) -> StudyQueue:
        return next(queue for queue in self._studies if queue.study.id == row.study)
