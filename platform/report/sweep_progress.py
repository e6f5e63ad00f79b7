"""The progress of a sweep, as the screen shows it: counts, speed, time left."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from platform.core.row import Row, SweepInfo, winner


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

    def best(self) -> list[Row]:
        """The best completed trial of each method that has one, the best first."""
        winners = [winner([row for row in self.rows if row.method == m], self.info.maximise) for m in self.info.methods]
        sign = -1 if self.info.maximise else 1
        return sorted((row for row in winners if row is not None), key=lambda row: sign * (row.score or 0.0))

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


def amount(progress: SweepProgress) -> str:
    """5 of 16 done; 5 done, 40 of 600 device-seconds spent."""
    if progress.total is not None:
        return f"{progress.done} of {progress.total} done"
    granted = (progress.info.seconds_per_study or 0.0) * len(progress.info.studies)
    return f"{progress.done} done, {progress.searched_seconds:,.0f} of {granted:,.0f} device-seconds spent"
