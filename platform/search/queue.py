"""What a study runs next: its unfinished rows, then proposals, of which one may be asked for while others still run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from platform.core.row import Row
from platform.search.proposer import Asked, Proposer
from platform.sweepfile import Study


class StudyQueue:
    """Rows that wait for a slot. make_row: a row of this study from parameters, its number and its parent.

    What is asked in the background is collected before the search hears of any further end: so a proposal follows from
    the events before `ask` and not from how long it took, and the ledger has both in this order.
    """

    def __init__(
        self,
        study: Study,
        proposer: Proposer,
        make_row: Callable[..., Row],
        record: Callable[[Asked], None],
    ) -> None:
        self.study, self.proposer = study, proposer
        self.waiting: list[Row] = []
        self.exhausted = False
        self.succeeded: set[str] = set()  # rows that a child came after
        self.waited = 0.0  # seconds that a slot stood empty for a proposal
        self._make_row, self._record = make_row, record
        self._made = 0
        self._pending: Future[list[Asked]] | None = None

    @property
    def asking(self) -> bool:
        return self._pending is not None

    @property
    def has_more(self) -> bool:
        """Whether it has a row left to hand out, or to propose within its number of trials."""
        open_ended = not self.exhausted and self.proposer.asked < self.study.trials
        return bool(self.waiting) or self.asking or open_ended

    def recall(
        self, history: Sequence[dict[str, Any]], rows: Mapping[str, Row], again: Callable[[Row], bool]
    ) -> list[Row]:
        """Take over an earlier run from the ledger: the rows that are over; the others wait, in their order.

        A ledger of before proposals were recorded has what was started instead.
        """
        mine: dict[str, Row] = {}
        for event in history:
            key = event["key"]
            if event["event"] == "ended":
                if key in mine and not again(mine[key]) and event["outcome"] == mine[key].outcome:
                    self.proposer.tell(mine[key])
            elif event["study"] != self.study.id or event.get("repeat"):
                continue
            elif event.get("known"):
                self.proposer.replay(_asked(event), over=True)
            elif key not in mine:
                self._recall_asked(event, mine, rows, again)
        self.waiting = [row for row in mine.values() if again(row)]
        return [row for row in mine.values() if not again(row)]

    def _recall_asked(
        self,
        event: dict[str, Any],
        mine: dict[str, Row],
        rows: Mapping[str, Row],
        again: Callable[[Row], bool],
    ) -> None:
        key, parent = event["key"], event.get("parent", "")
        if event["replaces"] not in mine if parent else self.proposer.asked >= self.study.trials:
            return  # the study was larger then
        row = rows.get(key) or self._make_row(event["params"], self._made, parent)
        if parent:
            self.succeeded.add(event["replaces"])
        else:
            self.proposer.replay(_asked(event), over=not again(row))
        mine[key] = row
        self._made += 1

    def adopt(self, params: dict[str, Any], parent: str, replaces: str, known: Mapping[str, Row]) -> Row | None:
        """Put a child of `parent` (KEY@EVALUATION) at the head of the queue; None where there is such a row."""
        row = self._make_row(params, self._made, parent)
        if row.key in known:
            return None
        self._record(Asked(params, row.key, parent=parent, replaces=replaces))
        self.succeeded.add(replaces)
        self.waiting.insert(0, row)
        self._made += 1
        return row

    def ask(self, pool: ThreadPoolExecutor, known: Mapping[str, Row]) -> None:
        """Start asking for one proposal. known: rows of this study."""
        if self._pending is None:
            self._pending = pool.submit(self.proposer.propose, known, lambda params: self._make_row(params, 0).key)

    def collect(self) -> None:
        """Wait for the proposal, if one is being asked for, and put it at the end of the queue."""
        if self._pending is None:
            return
        begin = time.perf_counter()
        found = self._pending.result()
        self._pending = None
        self.waited += time.perf_counter() - begin
        for asked in found:
            self._record(asked)
        if found[-1].known:
            self.exhausted = True
            return
        self.waiting.append(self._make_row(found[-1].params, self._made))
        self._made += 1


def cost_of_search(sampler: str, queues: Sequence[StudyQueue], wall: float) -> str:
    """What the search took of a sweep that has run for `wall` seconds, in words."""
    busy, waited = sum(queue.proposer.seconds for queue in queues), sum(queue.waited for queue in queues)
    share = busy / wall if wall > 0 else 0.0
    text = f"search ({sampler}): {busy:.2f} s of {wall:.0f} s ({share:.1%}), slots waited {waited:.2f} s for it"
    duplicates = sum(queue.proposer.duplicates for queue in queues)
    many = f"{duplicates} proposal{'s were' if duplicates != 1 else ' was'}"
    return text + (f"; {many} known and answered from the table" if duplicates else "")


def _asked(event: dict[str, Any]) -> Asked:
    return Asked(event["params"], event["key"], event.get("known", False), event.get("values"))
