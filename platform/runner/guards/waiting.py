"""Says now and then that nothing runs because no machine of the cluster has room for a trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial

__all__ = ["WaitingNotice"]

FIRST_SECONDS, AGAIN_SECONDS = 20.0, 120.0


class WaitingNotice(Callback):
    """demand: what a trial asks for, as text. supply: what the machines have. notify: takes a line for the screen."""

    def __init__(self, demand: str, supply: Callable[[], str], notify: Callable[[str], None]) -> None:
        self._demand, self._supply, self._notify = demand, supply, notify
        self._since = time.monotonic()  # something ran, or nothing had to
        self._next = FIRST_SECONDS

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **_: Any) -> None:
        now = time.monotonic()
        if any(trial.status == TuneTrial.RUNNING for trial in trials) or not trials:
            self._since, self._next = now, FIRST_SECONDS
        elif now - self._since > self._next:
            self._next = now - self._since + AGAIN_SECONDS
            self._notify(
                f"no trial runs since {now - self._since:.0f} s: each needs {self._demand}, and no machine has that "
                f"free (the cluster: {self._supply()}). Waiting for one; Ctrl-C ends the sweep"
            )
