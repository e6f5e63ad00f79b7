"""Device-seconds of each study against what it was granted.

A device-second is a second in which a trial trains or evaluates in its slot, whatever the slot consists of (resources:
cpu, gpu); every trial of a sweep has the same slot, so every method is charged alike. Stopped, diverged and failed
trials are charged, and every attempt of one that was started over. Not charged: starting a process, reading data, and
work that is lost with a machine, or for want of memory, and is done again; nor repeats of winners, which are counted
for themselves.

A study whose seconds are spent starts no trial. A trial under way then ends, as pruned, at its next evaluation: so a
study overdraws by one evaluation interval per slot at most, whether its trials are short or long. Only its first
trial, the defaults, always runs to its end, so that every method has something to show.
"""

from __future__ import annotations

from collections import defaultdict

from platform.core.row import Row


class Spending:
    """What each study has spent, kept current by `note`. granted: seconds per study; None = not limited."""

    def __init__(self, granted: float | None) -> None:
        self.granted = granted
        self._studies: dict[str, float] = defaultdict(float)
        self._rows: dict[str, float] = {}

    def note(self, row: Row) -> None:
        """A row of the search has gone on, or is known from an earlier run."""
        if row.repeat:
            return
        spent = row.spent
        self._studies[row.study] += spent - self._rows.get(row.key, 0.0)
        self._rows[row.key] = spent

    def of(self, study: str) -> float:
        return self._studies[study]

    def used_up(self, study: str) -> bool:
        """Whether the study may start no further trial."""
        return self.granted is not None and self._studies[study] >= self.granted

    def ends(self, row: Row, seconds: float) -> bool:
        """Whether a trial that now has trained `seconds` is to end here."""
        if self.granted is None or row.repeat or row.number == 0:
            return False
        now = row.earlier + seconds - self._rows.get(row.key, 0.0)
        return self._studies[row.study] + now >= self.granted
