"""The queue of one study: its unfinished rows, then proposals, one of which may be requested while trials still run."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from platform.core.events import Proposal, TrialEnded, TrialProposed, TrialStarted
from platform.core.ledger import StudyHistory
from platform.core.row import Row
from platform.core.spec import branch_point
from platform.search.proposer import Proposer
from platform.sweepfile import Study


class StudyQueue:
    """Rows that wait for a slot. make_row: a row of this study from parameters, its number and its parent.

    record: called with each proposal, in order. A proposal that is made in the background is collected before the
    search is told of any further end: so it depends on the events before `ask` and not on how long it took, and the
    ledger has both in this order.
    """

    def __init__(
        self,
        study: Study,
        proposer: Proposer,
        make_row: Callable[..., Row],
        record: Callable[[Proposal], None],
    ) -> None:
        self.study, self.proposer = study, proposer
        self.waiting: list[Row] = []
        self.exhausted = False
        self.succeeded: set[str] = set()  # rows that have a child as their successor
        self.waited = 0.0  # seconds in which a slot was idle for want of a proposal
        self._make_row, self._record = make_row, record
        self._orphans: list[Row] = []  # children without the line that says whose successor they are
        self._made = 0
        self._pending: Future[list[Proposal]] | None = None

    @property
    def asking(self) -> bool:
        return self._pending is not None

    @property
    def has_more(self) -> bool:
        """Whether a row waits, or may be proposed within the study's number of trials."""
        open_ended = not self.exhausted and self.proposer.asked < self.study.trials
        return bool(self.waiting) or self.asking or open_ended

    def recall(self, history: StudyHistory, runs_again: Callable[[Row], bool]) -> list[Row]:
        """Rebuild queue and search from an earlier run. The rows that are over; the others wait, in the order in which
        the earlier run would have gone on: those under way as they were started, then what waited there.

        runs_again: whether a row runs (again). Where a proposal's line was damaged, the start of its row counts.
        """
        recalled: dict[str, Row] = {}
        started: dict[str, None] = {}
        for event in history.events:
            match event:
                case TrialProposed(_, proposal):
                    self._recall_proposal(proposal, recalled, history.rows, runs_again)
                case TrialStarted(row) if not row.repeat:
                    proposal = Proposal(row.params, row.key, parent=row.spec.parent)
                    self._recall_proposal(proposal, recalled, history.rows, runs_again)
                    started.setdefault(row.key)
                case TrialEnded(row) if (known := recalled.get(row.key)) is not None:
                    if not runs_again(known) and row.outcome == known.outcome:
                        self.proposer.tell(known)
                case _:
                    pass
        self.waiting = [row for row in _in_order(recalled, started) if runs_again(row)]
        return [row for row in recalled.values() if not runs_again(row)]

    def _recall_proposal(
        self,
        proposal: Proposal,
        recalled: dict[str, Row],
        rows: Mapping[str, Row],
        runs_again: Callable[[Row], bool],
    ) -> None:
        key, parent, replaces = proposal.key, proposal.parent, proposal.replaces
        if proposal.known:
            self.proposer.replay(proposal, over=True)
            return
        beyond = bool(replaces) and replaces not in recalled if parent else self.proposer.asked >= self.study.trials
        if key in recalled or beyond:
            return  # known already, or of the study when it was larger
        row = rows.get(key) or self._make_row(proposal.params, self._made, parent)
        if not parent:
            self.proposer.replay(proposal._replace(key=row.key), over=not runs_again(row))
        elif replaces:
            self.succeeded.add(replaces)
        else:
            self._orphans.append(row)
        recalled[row.key] = row
        self._made = max(self._made, row.number) + 1

    def succeeded_by_orphan(self, key: str, milestone: int) -> bool:
        """Whether a child that starts at this milestone is there, of which the line that says whose successor it is was
        damaged: it is taken for that of row `key`."""
        orphan = next((row for row in self._orphans if branch_point(row.spec.parent)[1] == milestone), None)
        if orphan is not None:
            self._orphans.remove(orphan)
            self.succeeded.add(key)
        return orphan is not None

    def adopt(self, params: dict[str, Any], parent: str, replaces: str, known: Mapping[str, Row]) -> Row | None:
        """Put a child of `parent` (KEY@EVALUATION), the successor of `replaces`, at the head of the queue.

        known: rows of this study by key. None where the child is one of them.
        """
        row = self._make_row(params, self._made, parent)
        if row.key in known:
            return None
        self._record(Proposal(params, row.key, parent=parent, replaces=replaces))
        self.succeeded.add(replaces)
        self.waiting.insert(0, row)
        self._made += 1
        return row

    def ask(self, pool: ThreadPoolExecutor, known: Mapping[str, Row]) -> None:
        """Request one proposal in the background. known: rows of this study."""
        if self._pending is None:
            self._pending = pool.submit(self.proposer.propose, known, lambda params: self._make_row(params, 0).key)

    def collect(self) -> None:
        """Wait for the proposal, if one was requested, and put it at the end of the queue."""
        if self._pending is None:
            return
        begin = time.perf_counter()
        proposals = self._pending.result()
        self._pending = None
        self.waited += time.perf_counter() - begin
        for proposal in proposals:
            self._record(proposal)
        if proposals[-1].known:
            self.exhausted = True
            return
        self.waiting.append(self._make_row(proposals[-1].params, self._made))
        self._made += 1


def _in_order(recalled: Mapping[str, Row], started: Collection[str]) -> list[Row]:
    """Rows in the order in which the earlier run started them, then the others as they waited: children first, the
    latest at the head, as `adopt` puts them, then proposals.

    Proposals are started in their order: one before another that was started has lost its line of that.
    """
    proposals = [row for row in recalled.values() if not row.spec.parent]
    places = {row.key: place for place, row in enumerate(proposals)}
    order: dict[str, Row] = {}
    reached = 0
    for key in started:
        if key in places:
            order |= {row.key: row for row in proposals[reached : places[key] + 1]}
            reached = max(reached, places[key] + 1)
        elif key in recalled:
            order[key] = recalled[key]
    children = [row for row in reversed(recalled.values()) if row.spec.parent]
    return list(order.values()) + [row for row in [*children, *proposals] if row.key not in order]


def cost_of_search(sampler: str, queues: Sequence[StudyQueue], wall: float) -> str:
    """A line on the time that the search took in a sweep that has run for `wall` seconds."""
    busy, waited = sum(queue.proposer.seconds for queue in queues), sum(queue.waited for queue in queues)
    share = busy / wall if wall > 0 else 0.0
    text = f"search ({sampler}): {busy:.2f} s of {wall:.0f} s ({share:.1%}), slots waited {waited:.2f} s for it"
    duplicates = sum(queue.proposer.duplicates for queue in queues)
    many = f"{duplicates} proposal{'s were' if duplicates != 1 else ' was'}"
    return text + (f"; {many} known and answered from the table" if duplicates else "")
