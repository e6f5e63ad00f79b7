"""Messages between the driver and a worker about a trial, and how Ray Tune carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from platform.core.spec import PlugIn, Settings, TrialSpec

__all__ = ["Assignment", "PlugIn", "Progress", "WorkerProcess", "Workplace", "assignment_of", "progress_of"]


class Workplace(Settings):
    """The facts that are the same for every trial of a sweep: where states are kept, and what a slot consists of."""

    checkpoints: Path  # the driver's folder; a worker that sees `token` in it writes there itself
    token: str
    store: str  # name of the actor that writes for workers that do not see the folder
    folder: str  # the driver's current one: relative paths of the sweep file begin there
    rule: str  # selection rule
    threads: float  # CPU cores of a slot
    gpu: float  # GPUs of a slot; which device that is, is decided on the node (training/slot_device.py)
    disk_floor: int  # bytes that stay free
    disk_wait: float  # seconds that a worker waits for them
    plug_ins: tuple[PlugIn, ...] = ()  # but for those of methods

    @property
    def token_file(self) -> Path:
        return self.checkpoints / "TOKEN"

    @property
    def stop_file(self) -> Path:
        """The file on whose existence trials save their state and stop."""
        return self.checkpoints / "STOP"


class Assignment(Settings):
    """Driver to worker: train this trial."""

    model_config = ConfigDict(ser_json_inf_nan="constants")  # a hyper-parameter may be infinite

    key: str
    study: str
    spec: TrialSpec
    workplace: Workplace
    repeat: int = 0
    parts: int = 1  # a step's batch is split into so many, for want of memory
    may_split: bool = False  # retry.out_of_memory: accumulate
    plug_in: PlugIn | None = None

    def to_config(self) -> dict[str, str]:
        """The configuration of a Tune trial: one JSON text, which Tune neither splits nor names."""
        return {"trial": self.model_dump_json()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Assignment:
        return cls.model_validate_json(config["trial"])


@dataclass(frozen=True)
class Progress:
    """Worker to driver, at every evaluation and at the end of a trial.

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

    def to_result(self) -> dict[str, Any]:
        """A Tune trial's result. In a list: of each number in a result Tune keeps two histories, 50 kB a trial."""
        return {"progress": [self], "done": self.outcome is not None}


@dataclass(frozen=True)
class WorkerProcess:
    """The process that a trial runs in, for the driver's watchdog."""

    node: str
    pid: int
    stacks: str  # where its Python stacks can be read once they are asked for (guards/stack_dump.py)
    kernel_kills: int  # guards/out_of_memory.py


def assignment_of(trial: Any) -> Assignment:
    """The assignment that a Tune trial (ray.tune.experiment.Trial) was made from."""
    return _parsed(trial.config["trial"])


@lru_cache(maxsize=256)  # Tune's callbacks ask for it several times per evaluation
def _parsed(text: str) -> Assignment:
    return Assignment.model_validate_json(text)


def progress_of(result: Mapping[str, Any]) -> Progress | None:
    """The progress in a result of a Tune trial; None before its first one."""
    carried = result.get("progress")
    return carried[0] if carried else None
