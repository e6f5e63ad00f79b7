"""Follows the processes that trials run in: one that says nothing any more is asked why and ended, a lost one is told
from one that memory ran out for, one that grew too large is replaced."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial as TuneTrial
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from platform.runner.driver import Driver
from platform.runner.guards import out_of_memory, stack_dump
from platform.runner.tune.callbacks import payload
from platform.training import accumulation

LOOK_SECONDS = 1.0
STALLED_SECONDS = 10.0
"""Of the driver itself (a paused machine, a full disk): what trials said meanwhile is not known yet."""


@dataclass
class _Running:
    """A trial under way. since: of its last word, by the driver's monotonic clock."""

    trial: TuneTrial
    method: str
    since: float
    place: Any = None  # a reference to whereabouts()
    evaluations: int = 0  # in this process
    times: list[float] = field(default_factory=list)
    spent: bool = False  # replaced on purpose


class Watchdog(Callback):
    """errors: the folder for stack dumps. `cause` says in words why a trial's process ended."""

    def __init__(self, driver: Driver, errors: Path) -> None:
        self._driver, self._errors, self._settings = driver, errors, driver.sweep.watch
        self._running: dict[str, _Running] = {}
        self._causes: dict[str, str] = {}
        self._first: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=100))  # seconds, by method
        self._later: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=500))
        self._looked = time.monotonic()

    # -- what Tune tells ---------------------------------------------------------------------------------------------

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        told = payload(trial)
        actor: Any = trial.temporary_state.ray_actor
        place = actor.whereabouts.remote()  # asked now: a stuck process answers nothing
        method = told["study"].rpartition("/")[0]
        self._running[told["key"]] = _Running(trial, method, time.monotonic(), place)

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Any, **_: Any) -> None:
        seen = self._running.get(payload(trial)["key"])
        if seen is None:
            return
        now = time.monotonic()
        if result.get("spent"):
            seen.spent = True
            trial.max_failures += 1  # not one of the restarts that retry.lost allows
            _kill(trial)
            return
        took, seen.since = now - seen.since, now
        seen.evaluations += 1
        seen.times.append(took)
        (self._first if seen.evaluations == 1 else self._later)[seen.method].append(took)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.pop(payload(trial)["key"], None)

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        """A process died and the trial waits for another one."""
        told = payload(trial)
        seen, row = self._running.pop(told["key"], None), self._driver.rows[told["key"]]
        if seen is None or seen.spent:
            return
        if not self._short_of_memory(trial, seen):
            self._driver.notify(f"{row.study} #{row.number}: its process was lost; it goes on from its last evaluation")
        elif parts := self._more_parts(told):
            trial.config["trial"] = json.dumps(told | {"accumulate": parts})
            self._driver.notify(
                f"{row.study} #{row.number}: {out_of_memory.HOST}; it is started again, in {parts} parts"
            )
        else:
            self._driver.notify(f"{row.study} #{row.number}: {out_of_memory.HOST}; it is started again as it was")

    def cause(self, trial: TuneTrial) -> str:
        """Why a trial whose process ended has no result: for Row.error."""
        key, error = payload(trial)["key"], trial.get_error() or ""
        seen = self._running.pop(key, None)
        if key in self._causes:
            return self._causes.pop(key)
        if seen is not None and self._short_of_memory(trial, seen):
            return f"{out_of_memory.HOST}: the system ended its process\n{error}"
        return f"the worker was lost: its process ended without a word, once more than retry.lost allows\n{error}"

    # -- trials that say nothing ------------------------------------------------------------------------------------

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **_: Any) -> None:
        now = time.monotonic()
        gap = now - self._looked
        if gap < LOOK_SECONDS:
            return
        self._looked = now
        for key, seen in list(self._running.items()):
            if gap > STALLED_SECONDS:
                seen.since += gap
            if seen.trial.status != TuneTrial.RUNNING:
                seen.since = now
            elif now - seen.since > (limit := self.limit(seen)):
                self._end(key, seen, now - seen.since, limit)

    def limit(self, seen: _Running) -> float:
        """Seconds after which a trial is stuck."""
        settings = self._settings
        if seen.evaluations == 0:
            known = self._first[seen.method]
            usual = statistics.median(known) if known else settings.first / settings.factor
        else:
            others = self._later[seen.method]
            usual = max(statistics.median(times) for times in (seen.times, others) if times)
        return max(settings.at_least, settings.factor * usual)

    def _end(self, key: str, seen: _Running, silent: float, limit: float) -> None:
        row = self._driver.rows[key]
        words = (
            f"stuck: nothing heard of it for {silent:.0f} s (limit {limit:.0f} s, see watch:); its process was ended"
        )
        path = self._errors / f"{key}.stack.txt"
        dump = self._dump(seen)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.write_text(dump + "\n")
        self._causes[key] = f"{words}\nwhat it was doing: {path}\n{dump}"
        self._driver.notify(f"{row.study} #{row.number} {words}")
        seen.trial.max_failures = 0
        seen.since = time.monotonic()
        _kill(seen.trial)

    def _dump(self, seen: _Running) -> str:
        try:
            place: Any = ray.get(seen.place, timeout=2)
            return self._there(place, stack_dump.ask, place["pid"], place["stacks"])
        except Exception as error:
            return f"its stack could not be had: {type(error).__name__}: {error}"

    # -- processes that died ------------------------------------------------------------------------------------------

    def _short_of_memory(self, trial: TuneTrial, seen: _Running) -> bool:
        before = now = 0
        with contextlib.suppress(Exception):  # the whole node may be gone: then Ray's words are all there is
            place: Any = ray.get(seen.place, timeout=2)
            before, now = place["kills"], self._there(place, out_of_memory.kernel_kills)
        return bool(out_of_memory.of_death(str(trial.get_error() or ""), before, now))

    def _more_parts(self, told: dict[str, Any]) -> int:
        """In how many parts a trial's batches are split next; 0 where that is not asked for or cannot be."""
        spec = self._driver.rows[told["key"]].spec
        if not told["split"]:
            return 0
        cls = next(entry.cls for entry in self._driver.sweep.methods if entry.name == spec.method)
        return accumulation.next_parts(spec, cls, max(told["accumulate"], spec.train.accumulate))[0]

    def _there(self, place: dict[str, Any], function: Any, *arguments: Any) -> Any:
        """The function's answer on the node of a process: here, or by a task that is sent there."""
        if place["node"] == ray.get_runtime_context().get_node_id():
            return function(*arguments)
        where = NodeAffinitySchedulingStrategy(place["node"], soft=False)
        task: Any = ray.remote(num_cpus=0)(function).options(scheduling_strategy=where)
        return ray.get(task.remote(*arguments), timeout=30)


def _kill(trial: TuneTrial) -> None:
    actor: Any = trial.temporary_state.ray_actor
    ray.kill(actor)
