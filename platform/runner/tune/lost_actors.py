"""A trial whose actor is found dead before the trial begins is started again, as one that loses its actor later.

Ray Tune 2.60 hands a reused actor the next trial while this one still counts as pending. Where the actor is dead, Tune
takes note twice: of the actor (the trial is started again, a failure is counted) and of the call that handed the trial
over. The second finds a pending trial and gives it up. It also keeps the trial as one that is being handed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial

__all__ = ["recover_before_start"]


@contextlib.contextmanager
def recover_before_start() -> Iterator[None]:
    """Have Tune recover such trials inside the block."""
    tune: Any = TuneController
    original = tune._process_trial_failure

    def process(controller: Any, trial: TuneTrial, exception: Any) -> None:
        controller._resetting_trials.discard(trial)
        told_before = trial.status == TuneTrial.PENDING and trial not in controller._trial_to_actor
        if not told_before:
            original(controller, trial, exception)

    tune._process_trial_failure = process
    try:
        yield
    finally:
        tune._process_trial_failure = original
