"""The progress of a sweep, as the screen shows it: counts, speed, time left."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from platform.core.row import Row, SweepInfo
from platform.report.standings import study_winners


@dataclass
class TrialProgress:
    """A trial since it was last started: `began` and `first_step` leave out what an earlier session trained."""

    row: Row
    began: float
    first_step: int = 0
    first_seconds: float = 0.0
    at: float = 0.0  # of the last report
    score: float | None = None
    test_accuracy: float | None = None

    @property
    def speed(self) -> float | None:
        """Training steps per second in this session, evaluation and start included."""
        steps = self.row.steps - self.first_step
        return steps / (self.at - self.began) if self.at > self.began and steps > 0 else None


@dataclass(frozen=True)
class MethodProgress:
    """A method so far. best: the best score of its winners, mean: their mean over studies, both as on the last screen.

    total: of its trials and repeats, None where that is not known. left: seconds until its last trial ends.
    """

    method: str
    running: int
    done: int
    total: int | None
    best: float | None
    mean: float | None
    left: float | None = None

    @property
    def state(self) -> str:
        """running, done or waiting."""
        return "running" if self.running else "done" if self.done == self.total else "waiting"


@dataclass
class SweepProgress:
    """Counts, the best so far and the time left."""

    info: SweepInfo
    began: float = field(default_factory=time.monotonic)
    trials: dict[str, TrialProgress] = field(default_factory=dict)
    earlier: dict[str, Row] = field(default_factory=dict)

    @property
    def total(self) -> int | None:
        """Rows in all; None where seconds decide how many there will be."""
        info = self.info
        children = sum(row.spec.parent != "" for row in self.rows)  # of population-based training
        if info.planned is not None:
            return info.planned + children
        if info.trials_per_study is None or info.seconds_per_study is not None:
            return None
        return (info.trials_per_study + info.repeats) * len(info.studies) + children

    @property
    def searched_seconds(self) -> float:
        """Device-seconds charged to the searches so far, of all studies."""
        return sum(row.spent for row in self.rows if not row.repeat)

    @property
    def rows(self) -> list[Row]:
        return [*self.earlier.values(), *(seen.row for seen in self.trials.values())]

    @property
    def running(self) -> list[TrialProgress]:
        return [seen for seen in self.trials.values() if seen.row.outcome is None]

    @property
    def ended(self) -> list[TrialProgress]:
        return [seen for seen in self.trials.values() if seen.row.outcome is not None]

    @property
    def done(self) -> int:
        return len(self.earlier) + len(self.ended)

    @property
    def counts(self) -> Counter[str]:
        return Counter(row.outcome or "running" for row in self.rows)

    def started(self, row: Row) -> None:
        now = time.monotonic()
        self.earlier.pop(row.key, None)
        self.trials[row.key] = TrialProgress(row, now, row.steps, row.seconds, now)

    def reported(self, row: Row, report: dict[str, float]) -> None:
        seen = self._seen(row)
        seen.at = time.monotonic()
        seen.score = report.get("score")
        seen.test_accuracy = report.get("test_accuracy")

    def stopped(self, row: Row) -> None:
        seen = self._seen(row)
        seen.score = row.score if row.score is not None else None

    def _seen(self, row: Row) -> TrialProgress:
        """The progress of a trial; one that ended without being started is added."""
        if row.key not in self.trials:
            self.started(row)
        return self.trials[row.key]

    def methods(self) -> list[MethodProgress]:
        """Every method, best mean first, those without a completed trial last."""
        work = {method: self._work_left(method) for method in self.info.methods}
        longest, left = max(_shared(work).values(), default=0.0), self.seconds_left()
        scale = left / longest if left is not None and longest > 0 else None  # together they end when the sweep does
        found = [self._method(name, None if scale is None else scale * t) for name, t in _shared(work).items()]
        sign = -1 if self.info.maximise else 1
        return sorted(found, key=lambda m: (m.mean is None, sign * (m.mean or 0.0)))

    def _method(self, method: str, left: float | None) -> MethodProgress:
        rows = [row for row in self.rows if row.method == method]
        running = sum(seen.row.method == method for seen in self.running)
        scores = [row.score for row in study_winners(self.info, method, rows) if row.score is not None]
        best = (max if self.info.maximise else min)(scores, default=None)
        mean = sum(scores) / len(scores) if scores else None
        return MethodProgress(method, running, len(rows) - running, self._total_of(method), best, mean, left)

    def _total_of(self, method: str) -> int | None:
        info = self.info
        studies = [study for study in info.studies if study.rpartition("/")[0] == method]
        children = sum(row.spec.parent != "" for row in self.rows if row.method == method)
        if info.planned_of:
            return sum(info.planned_of.get(study, 0) for study in studies) + children
        if info.trials_per_study is None or info.seconds_per_study is not None:
            return None
        return (info.trials_per_study + info.repeats) * len(studies) + children

    def _work_left(self, method: str) -> float:
        """Device-seconds that a method still needs, at its own seconds per step, or at all methods' before it has any.

        Where seconds are granted: those that are not spent.
        """
        rows = [row for row in self.rows if row.method == method]
        total = self._total_of(method)
        if total is None:
            studies = sum(study.rpartition("/")[0] == method for study in self.info.studies)
            return max(0.0, (self.info.seconds_per_study or 0.0) * studies - sum(row.spent for row in rows))
        timed = [row for row in rows if row.steps] or [row for row in self.rows if row.steps]
        pace = sum(row.spent for row in timed) / max(1, sum(row.steps for row in timed)) if timed else 1.0
        running = [seen.row for seen in self.running if seen.row.method == method]
        waiting = max(0, total - len(rows)) * self.info.steps
        return pace * (waiting + sum(max(0, self.info.steps - row.steps) for row in running))

    def shown(self, limit: int) -> list[TrialProgress]:
        """Running trials first, then ended ones by score, those without a score last."""
        sign = -1 if self.info.maximise else 1
        ended = sorted(self.ended, key=lambda s: (s.score is None, sign * (s.score or 0.0), s.row.number))
        return [*self.running, *ended][:limit]

    def seconds_left(self) -> float | None:
        """Steps still to do over steps a second so far; a waiting trial counts as an average ended one.

        None until a trial has reported. Trials that are stopped early make this fall faster than the clock.
        """
        elapsed = time.monotonic() - self.began
        made = sum(seen.row.steps - seen.first_step for seen in self.trials.values())
        if made <= 0 or elapsed <= 0:
            return None
        full = self.info.steps
        ended = [s.row.steps for s in self.ended if s.row.outcome != "preempted" and not s.row.repeat]
        average = sum(ended) / len(ended) if ended else full
        repeats = self.info.repeats * len(self.info.studies) - sum(row.repeat > 0 for row in self.rows)
        left = max(0, repeats) * float(full)  # they are never stopped early
        if self.total is None:
            rate = sum(seen.row.seconds - seen.first_seconds for seen in self.trials.values()) / elapsed
            granted = (self.info.seconds_per_study or 0.0) * len(self.info.studies)
            return max(0.0, granted - self.searched_seconds) / rate + left * elapsed / made if rate > 0 else None
        waiting = max(0, self.total - self.done - len(self.running) - max(0, repeats))
        left += waiting * average + sum(max(0.0, max(average, s.row.steps) - s.row.steps) for s in self.running)
        return left * elapsed / made


def _shared(work: dict[str, float]) -> dict[str, float]:
    """The time until each one's work is done, where slots are shared equally among those that have work left."""
    return {name: sum(min(own, other) for other in work.values()) if own else 0.0 for name, own in work.items()}


def amount(progress: SweepProgress) -> str:
    """5 of 16 done; 5 done, 40 of 600 device-seconds spent."""
    if progress.total is not None:
        return f"{progress.done} of {progress.total} done"
    granted = (progress.info.seconds_per_study or 0.0) * len(progress.info.studies)
    return f"{progress.done} done, {progress.searched_seconds:,.0f} of {granted:,.0f} device-seconds spent"
