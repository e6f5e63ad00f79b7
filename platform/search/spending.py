"""Device-seconds of a study against its budget.

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

from platform.core.row import Row


class Spending:
    """Device-seconds that one study has spent, kept current by `note`. granted: its budget; None = not limited."""

    def __init__(self, granted: float | None) -> None:
        self.granted = granted
        self.spent = 0.0
        self._rows: dict[str, float] = {}

    def note(self, row: Row) -> None:
        """Charge what a row of the study has spent since it was last noted. Repeats are not charged."""
        if row.repeat:
            return
        spent = row.spent
        self.spent += spent - self._rows.get(row.key, 0.0)
        self._rows[row.key] = spent

    @property
    def used_up(self) -> bool:
        """Whether the study may start no further trial."""
        return self.granted is not None and self.spent >= self.granted

    def ends(self, row: Row, seconds: float) -> bool:
        """Whether a trial that has trained `seconds` ends at this evaluation."""
        if self.granted is None or row.repeat or row.number == 0:
            return False
        now = row.earlier + seconds - self._rows.get(row.key, 0.0)
        return self.spent + now >= self.granted
