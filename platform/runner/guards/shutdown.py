"""The end of a sweep that was asked to end: no further trial starts, those under way save where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.stopper import Stopper

from platform.runner.guards import signals
from platform.runner.messages import assignment_of, progress_of

__all__ = ["Shutdown"]

SAVE_SECONDS = 20.0
"""How long trials have to save. One that cannot (a long step, a node without the folder) keeps its last checkpoint."""


class Shutdown(Callback, Stopper):
    """Both of Tune's roles: it follows the trials, and decides when all are to be stopped.

    stop_file: made to ask the trials to save. notify: takes a line for the person at the screen.
    """

    def __init__(self, stop_file: Path, notify: Callable[[str], None]) -> None:
        self._file, self._notify = stop_file, notify
        self._file.unlink(missing_ok=True)
        self._running: set[str] = set()
        self._asked = False

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **_: Any) -> None:
        if signals.requested() and not self._asked:
            self._asked = True
            self._file.touch()
            self._notify(signals.notice())

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.add(assignment_of(trial).key)

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Any, **_: Any) -> None:
        progress = progress_of(result)
        if progress is not None and progress.saved:
            self._running.discard(progress.key)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.discard(assignment_of(trial).key)

    on_trial_error = on_trial_recover = on_trial_complete

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._asked and (not self._running or signals.waited() > SAVE_SECONDS)
