"""Tells the autoscaler of a cluster how many trials may run, and lets rows go out as machines come.

The autoscaler sees what waits: placement groups (one bundle each) that no machine has room for. Tune makes one for
every trial that it was given; but a row is proposed when it is given to Tune, and one proposed long before it can start
does without the results of those that end meanwhile. So for trials that may run once there is room, groups of the same
shape stand in. One that finds room is taken away, and a row goes out in its place. They belong to the job: when it
ends, in whatever way, its demand ends, and idle machines go. What `ray.autoscaler.sdk.request_resources` asks for would
outlive a killed driver, and one sweep's would replace another's.
"""

from __future__ import annotations

import time
from typing import Any

from ray.tune import Callback
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from platform.runner import cluster, cluster_growth
from platform.runner.cluster_growth import Growth
from platform.runner.driver import Driver
from platform.training.slots import Slots

__all__ = ["ClusterDemand"]

LOOK_SECONDS, SAY_SECONDS, AGAIN_SECONDS = 0.5, 5.0, 120.0


class ClusterDemand(Callback):
    """slots: the trials that may run at once, in the end. The driver's limit is how many may now."""

    def __init__(self, driver: Driver, slots: Slots, growth: Growth) -> None:
        self._driver, self._slots, self._growth = driver, slots, growth
        self._driver.limit = max(1, min(slots.count, sum(cluster.room_now(slots))))
        self._groups: list[PlacementGroup] = []
        self._next_look = 0.0
        self._said, self._said_at = "", -AGAIN_SECONDS

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        self._take_room()
        self._stand_in()
        self._say(now)

    def _take_room(self) -> None:
        for group in [group for group in self._groups if group.wait(0)]:
            self._drop(group)
            self._driver.limit = (self._driver.limit or 0) + 1

    def _may_run(self) -> int:
        return min(self._slots.count, len(self._driver.away) + self._driver.left())

    def _stand_in(self) -> None:
        """As many groups as rows could go out if there were room."""
        wanted = self._may_run() - max(self._driver.limit or 0, len(self._driver.away))
        while len(self._groups) > max(0, wanted):
            self._drop(self._groups[-1])
        while len(self._groups) < wanted:
            self._groups.append(placement_group([self._slots.bundle]))

    def _drop(self, group: PlacementGroup) -> None:
        self._groups.remove(group)
        remove_placement_group(group)

    def withdraw(self) -> None:
        """End the demand of trials that have not begun."""
        while self._groups:
            self._drop(self._groups[-1])

    def _say(self, now: float) -> None:
        """Say what is waited for: where that has changed, and every two minutes."""
        passed = now - self._said_at
        if passed < SAY_SECONDS:
            return
        words, waits = self._words()
        if words and (words != self._said or (waits and passed >= AGAIN_SECONDS)):
            self._said, self._said_at = words, now
            self._driver.notify(words)

    def _words(self) -> tuple[str, bool]:
        node_type, there = self._growth.node_type(self._slots), cluster.room_now(self._slots)
        missing = self._may_run() - sum(there)
        kind = f"{'GPU ' if self._slots.gpu else ''}worker"
        if missing <= 0:
            return (f"all {kind}s are there: {len(there)}" if self._said else ""), False
        if node_type is None:
            words = f"waiting for room for {missing} more trial{'s' * (missing != 1)}"
        else:
            count = -(-missing // self._slots.room(node_type.resources))
            words = f"waiting for {count} {kind}{'s' * (count != 1)}"
        words += f"; {len(there)} {'is' if len(there) == 1 else 'are'} there"
        trouble = cluster_growth.failed_launch()
        return (f"{words}. The last attempt to start one failed: {trouble}" if trouble else words), True
