"""The end of a sweep that was asked to end: no further trial starts, those under way save where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.stopper import Stopper

from platform.runner.driver import Driver
from platform.runner.guards import signals
from platform.runner.tune.callbacks import payload
from platform.runner.tune.checkpoint_store import STOP

SAVE_SECONDS = 20.0
"""How long trials have to save. One that cannot (a long step, a node without the folder) keeps its last checkpoint."""


class Stopping(Callback, Stopper):
    """Both of Tune's roles: it follows the trials, and says when all are to be stopped."""

    def __init__(self, driver: Driver, checkpoints: Path) -> None:
        self._driver, self._file = driver, checkpoints / STOP
        self._file.unlink(missing_ok=True)
        self._running: set[str] = set()
        self._said = False

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **_: Any) -> None:
        if signals.requested() and not self._said:
            self._said = True
            self._file.touch()
            self._driver.notify(signals.say())

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.add(payload(trial)["key"])

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Any, **_: Any) -> None:
        if result.get("saved"):
            self._running.discard(payload(trial)["key"])

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.discard(payload(trial)["key"])

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.discard(payload(trial)["key"])

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.discard(payload(trial)["key"])

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._said and (not self._running or signals.waited() > SAVE_SECONDS)
