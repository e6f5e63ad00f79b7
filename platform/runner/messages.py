"""What the driver and a worker say to each other about a trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from platform.core.spec import Settings, TrialSpec

__all__ = ["Assignment", "PlugIn", "Progress", "Workplace"]


class PlugIn(Settings):
    """A method's file by its text: the worker needs no copy of the file."""

    source: str
    path: str


class Workplace(Settings):
    """What is the same for every trial of a sweep: where states are kept, and what a slot consists of."""

    checkpoints: Path  # the driver's folder; a worker that sees `token` in it writes there itself
    token: str
    store: str  # name of the actor that writes for workers that do not see the folder
    folder: str  # the driver's current one: relative paths of the sweep file begin there
    rule: str  # selection rule
    threads: float  # CPU cores of a slot
    device: str
    disk_floor: int  # bytes that stay free
    disk_wait: float  # seconds that a worker waits for them


class Assignment(Settings):
    """Driver to worker: train this trial.

    It travels as JSON text (`model_dump_json`), which Tune neither splits nor names.
    """

    key: str
    study: str
    spec: TrialSpec
    workplace: Workplace
    repeat: int = 0
    parts: int = 1  # a step's batch is split into so many, for want of memory
    may_split: bool = False  # retry.out_of_memory: accumulate
    plug_in: PlugIn | None = None


@dataclass(frozen=True)
class Progress:
    """Worker to driver, at every evaluation and at the end of a trial. Travels pickled, in a list: of every number in a
    result Tune keeps two histories, 50 kB a trial.

    reports: the last evaluation; after a restart all of the trial's own, since the driver may not have had them.
    Empty where the trial ended before its first one.
    """

    key: str
    reports: list[dict[str, float]] = field(default_factory=list)
    outcome: str | None = None  # completed, diverged or failed; None while the trial goes on
    error: str = ""  # traceback of a failed trial
    notice: str = ""  # a line for the person at the screen
    parts: int = 1
    seconds: float = 0.0  # device-seconds of this attempt
    saved: bool = False  # asked to end, it has saved its state between two evaluations
    outgrown: bool = False  # its process holds too much memory: another one takes the trial over

    @property
    def evaluation(self) -> int:
        """Number of the last evaluation, from 1; 0 before the first."""
        return int(self.reports[-1]["evaluation"]) if self.reports else 0

    @property
    def score(self) -> float | None:
        return self.reports[-1].get("score") if self.reports else None
