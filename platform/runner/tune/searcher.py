"""Rows of the driver as the suggestions of a Tune searcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from platform.core.row import Row
from platform.runner.driver import Driver
from platform.runner.guards import signals
from platform.runner.messages import Assignment
from platform.runner.tune.callbacks import keep_failure

__all__ = ["RowSearcher"]


class RowSearcher(Searcher):
    """Suggests the driver's next row. Results do not come this way: `EventCallback` sees all of them, also the last."""

    def __init__(self, driver: Driver, assign: Callable[[Row], Assignment]) -> None:
        super().__init__()
        self._driver, self._assign = driver, assign

    def suggest(self, trial_id: str) -> Any:
        if signals.requested():
            return None
        with keep_failure(self._driver):
            row = self._driver.next_row()
        if row is None:
            return None if self._driver.expecting else Searcher.FINISHED
        return self._assign(row).to_config()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None: ...

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: no pickled searcher is ever restored, a sweep goes on from its ledger."""

    def restore(self, checkpoint_path: str) -> None: ...
