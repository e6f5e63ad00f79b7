"""What Ray Tune sees of the driver: a Searcher that hands out rows, a scheduler per study, a callback that tells."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from platform.core.row import Row
from platform.runner.driver import Driver
from platform.runner.guards import signals
from platform.runner.messages import Progress


def payload(trial: TuneTrial) -> dict[str, Any]:
    """What the driver wrote into the trial's config. One JSON text: Tune neither splits nor names it."""
    return json.loads(trial.config["trial"])


@contextlib.contextmanager
def kept(driver: Driver) -> Iterator[None]:
    """An error of ours (a full disk, say) goes through Tune, which makes text of it: keep the error itself."""
    try:
        yield
    except Exception as error:
        driver.failure = error
        raise


class RowSearcher(Searcher):
    """Rows as suggestions. Results do not come this way: the callback below sees all of them, also the last."""

    def __init__(self, driver: Driver, make_payload: Callable[[Row], dict[str, Any]]) -> None:
        super().__init__()
        self._driver, self._make_payload = driver, make_payload

    def suggest(self, trial_id: str) -> Any:
        if signals.requested():
            return None
        with kept(self._driver):
            row = self._driver.next_row()
        if row is None:
            return None if self._driver.expecting else Searcher.FINISHED
        return {"trial": json.dumps(self._make_payload(row))}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the truth, no pickled searcher is ever restored."""

    def restore(self, checkpoint_path: str) -> None: ...


class EventCallback(Callback):
    """Every event of Tune, told to the driver."""

    def __init__(self, driver: Driver, after_end: Callable[[Row], None], cause: Callable[[TuneTrial], str]) -> None:
        self._driver, self._after_end, self._cause = driver, after_end, cause

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        with kept(self._driver):
            self._driver.ask_ahead()

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Any, **_: Any) -> None:
        key = payload(trial)["key"]
        progress = Progress(
            key,
            [report for report in result["report"] if report],
            result["outcome"],
            result["error"],
            result.get("notice", ""),
            int(result.get("accumulate", self._driver.rows[key].accumulate)),
            result.get("seconds", 0.0),
        )
        with kept(self._driver):
            self._driver.reported(progress, result["done"])
        if self._driver.rows[key].outcome is not None:
            self._after_end(self._driver.rows[key])

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        key = payload(trial)["key"]
        with kept(self._driver):
            self._driver.ended(key, "failed", self._cause(trial))
        self._after_end(self._driver.rows[key])


class SpendingStopper(Stopper):
    """Ends a trial whose study has spent its device-seconds. Asked before the scheduler and before the callback."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        with kept(self._driver):
            going_on = result.get("key") is not None and result["outcome"] is None
            report = result["report"][-1] if going_on else {}
            return bool(report) and self._driver.overspends(result["key"], report["seconds"])

    def stop_all(self) -> bool:
        return False
