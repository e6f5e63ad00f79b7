"""Tune's callbacks and stopper: they pass what happens to trials on to the driver."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.stopper import Stopper

from platform.core.row import Row
from platform.runner.cluster import RayLost
from platform.runner.driver import Driver
from platform.runner.guards.ray_processes import lost_processes
from platform.runner.messages import assignment_of, progress_of

__all__ = ["EventCallback", "RayProcessCheck", "SpendingStopper", "keep_failure"]


@contextlib.contextmanager
def keep_failure(driver: Driver) -> Iterator[None]:
    """Keep an error of ours (a full disk) in `driver.failure`: Tune, which it goes through, turns it into text."""
    try:
        yield
    except Exception as error:
        driver.failure = error
        raise


class EventCallback(Callback):
    """Reports every evaluation and every end to the driver.

    after_end: called with a row that has ended. cause: why a trial's process was lost, for Row.error.
    """

    def __init__(self, driver: Driver, after_end: Callable[[Row], None], cause: Callable[[TuneTrial], str]) -> None:
        self._driver, self._after_end, self._cause = driver, after_end, cause

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        with keep_failure(self._driver):
            self._driver.ask_ahead()

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Any, **_: Any) -> None:
        progress = progress_of(result)
        if progress is None:
            return
        with keep_failure(self._driver):
            self._driver.reported(progress, result["done"])
        row = self._driver.rows[progress.key]
        if row.outcome is not None:
            self._after_end(row)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        key = assignment_of(trial).key
        with keep_failure(self._driver):
            self._driver.ended(key, "failed", self._cause(trial))
        self._after_end(self._driver.rows[key])


class SpendingStopper(Stopper):
    """Ends a trial whose study has spent its device-seconds. Asked before the scheduler and before the callback."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        progress = progress_of(result)
        if progress is None or progress.outcome is not None or not progress.reports:
            return False
        with keep_failure(self._driver):
            return self._driver.overspends(progress.key, progress.reports[-1]["seconds"])

    def stop_all(self) -> bool:
        return False


class RayProcessCheck(Callback):
    """Raises RayLost where the private Ray has lost a process; looks at every step of Tune's loop, ten a second.

    Without this a driver whose raylet was killed waits for ever (trials pend on a node that is gone), and one whose GCS
    was killed aborts after a minute.
    """

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if lost := lost_processes():
            raise RayLost(", ".join(lost))
