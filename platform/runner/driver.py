"""The driver: which row runs next, and every event to every listener. Knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from platform.core.events import (
    Event,
    Listener,
    SweepEnded,
    SweepStarted,
    TrialEnded,
    TrialProposed,
    TrialReported,
    TrialStarted,
)
from platform.core.ledger import Ledger
from platform.core.row import Row, SweepInfo
from platform.runner.messages import Progress
from platform.runner.study_run import StudyRun
from platform.search.queue import cost_of_search
from platform.sweepfile import Study, Sweep
from platform.training.selection import Rule


class Driver:
    """Starts rows round robin over the studies and sends every event to the listeners once, the ledger first.

    labels: hash of the label plan by (study index, repeat), repeat 0 = the search; with data_hash part of every spec.
    rows: the whole table by key. complete: ids of the studies that have nothing left to run, known when the sweep ends.
    remarks: lines for the end of the sweep. notify: shows a line to the person at the screen. limit: the number of rows
    that may be away at once, while a cluster grows; None = as many as are asked for. away: keys of those that are.
    """

    def __init__(
        self,
        sweep: Sweep,
        rule: Rule,
        ledger: Ledger,
        listeners: list[Listener],
        data_hash: str,
        labels: Mapping[tuple[int, int], str],
    ) -> None:
        self.sweep, self.rule, self.ledger = sweep, rule, ledger
        self.listeners: list[Listener] = [ledger, *listeners]
        self.rows: dict[str, Row] = {}
        self.remarks: list[str] = []
        self.complete: set[str] = set()
        self.failure: Exception | None = None  # what a listener raised
        self.notify: Callable[[str], None] = lambda text: None
        self.limit: int | None = None
        self.away: set[str] = set()
        self._started: float | None = None  # time.monotonic of the first row
        self._pool = ThreadPoolExecutor(1, "search")
        history = ledger.by_study()

        def open_study(study: Study) -> StudyRun:
            def record(proposal: Any) -> None:
                self._emit(TrialProposed(study.id, proposal))

            past = history[study.id]
            return StudyRun(sweep, study, rule.maximise, data_hash, labels, past, self.rows, record)

        self.studies: dict[str, StudyRun] = {study.id: open_study(study) for study in sweep.studies()}
        self._order = list(self.studies.values())
        self._turn = 0  # the study whose turn it is, counted on beyond their number

    def _emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener.handle(event)

    def start(self, info: SweepInfo) -> None:
        """Announce the sweep, with the rows that earlier runs left."""
        self._emit(SweepStarted(info, list(self.rows.values())))

    # -- rows out ----------------------------------------------------------------------------------------------------

    def next_row(self) -> Row | None:
        """Start the next row; None when there is none now: see `expecting`. Repeats come after all searches."""
        if self._full:
            return None
        self._started = self._started or time.monotonic()
        row = self._next_of_searches() or next((row for run in self._order if (row := run.next_repeat())), None)
        if row is not None:
            self.away.add(row.key)
            self._emit(TrialStarted(row))
        return row

    @property
    def _full(self) -> bool:
        return self.limit is not None and len(self.away) >= self.limit

    def _next_of_searches(self) -> Row | None:
        for _ in self._order:
            run = self._order[self._turn % len(self._order)]
            self._turn += 1
            if (row := run.next_row(self._pool)) is not None:
                return row
        return None

    def ask_ahead(self) -> None:
        """Request the next proposal in the background, where no row waits. To be called when a row has started.

        One, not one per slot: each row proposed ahead does without the results of those that end before it starts.
        """
        if any(run.queue.waiting or run.queue.asking for run in self._order):
            return
        count = len(self._order)
        turns = (self._order[(self._turn + offset) % count] for offset in range(count))
        run = next((run for run in turns if run.may_ask), None)
        if run is not None:
            run.ask(self._pool)

    @property
    def expecting(self) -> bool:
        """Whether there may be rows later although `next_row` has none now: repeats and children of rows that run, or
        those that the limit keeps back."""
        return self._full or any(run.expecting for run in self._order)

    def left(self) -> int:
        """Number of rows that are still to be started, at most; 0 = none."""
        return sum(run.left for run in self._order)

    def best(self, study: str) -> Row | None:
        """The winner of a study so far: completed trials only, by the rule."""
        return self.studies[study].best

    def unfinished(self) -> list[Row]:
        """Rows of earlier runs that go on, with the evaluations they reported then."""
        return [row for run in self._order for row in run.unfinished]

    def wanted_states(self, evaluation: int) -> set[str]:
        """States at an evaluation that a child may start from, now or later: KEY@EVALUATION."""
        return set().union(*(run.wanted_states(evaluation) for run in self._order))

    def overspends(self, key: str, seconds: float) -> bool:
        """Whether a trial that has trained `seconds` ends at this evaluation: its study's seconds are spent."""
        row = self.rows[key]
        return row.outcome is None and self.studies[row.study].spending.ends(row, seconds)

    # -- events in ---------------------------------------------------------------------------------------------------

    def reported(self, progress: Progress, done: bool = False) -> None:
        """Take a trial's evaluations, and its end: an outcome, or `done` without one: the scheduler stopped it.

        Evaluations that are known (the trial came back) are passed over, as is everything about a row that has ended.
        """
        row = self.rows[progress.key]
        if row.outcome is not None:
            return
        for report in progress.reports[:-1]:
            self._evaluated(row, report)
        self._note_parts(row, progress.parts)
        if progress.notice:
            self.notify(f"{row.study} #{row.number}: {progress.notice}")
        for report in progress.reports[-1:]:
            self._evaluated(row, report)
        if progress.outcome or done:
            row.seconds = max(row.seconds, progress.seconds)  # also those after its last evaluation
            self.ended(row.key, progress.outcome or "pruned", progress.error)

    def _evaluated(self, row: Row, report: dict[str, float]) -> None:
        if self.studies[row.study].report(row, report):
            self._emit(TrialReported(row, report))

    def _note_parts(self, row: Row, parts: int) -> None:
        if parts != row.accumulate:
            row.accumulate = parts
            self.notify(
                f"{row.study} #{row.number} did not fit into memory: from evaluation {len(row.reports) + 1} on "
                f"its batches are split in {parts}, and their gradients added"
            )

    def ended(self, key: str, outcome: Any, error: str = "") -> None:
        """Give a row its outcome; nothing where it has one."""
        row = self.rows[key]
        if row.outcome is not None:
            return
        self.away.discard(key)
        self._collect()
        run = self.studies[row.study]
        run.end(row, outcome, error)
        self._emit(TrialEnded(row))
        run.succeed(row)

    def _collect(self) -> None:
        for run in self._order:
            run.queue.collect()

    def close(self) -> list[Row]:
        """End the sweep. Rows that still run were interrupted: they go on from their checkpoint next time."""
        self._collect()
        self._pool.shutdown()
        for row in list(self.rows.values()):
            if row.outcome is None:
                self.ended(row.key, "preempted")
        self.complete |= {study for study, run in self.studies.items() if run.complete}
        if self._started is not None:
            seconds = time.monotonic() - self._started
            queues = [run.queue for run in self._order]
            self.remarks.append(cost_of_search(self.sweep.budget.sampler, queues, seconds))
        rows = list(self.rows.values())
        self._emit(SweepEnded(rows))
        return rows

    # -- Tune --------------------------------------------------------------------------------------------------------

    def __deepcopy__(self, memo: Any) -> Driver:
        """Tune copies its configuration; there is one driver."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Tune pickles its configuration to restore it; the driver is restored from the ledger instead."""
        return (object, ())
