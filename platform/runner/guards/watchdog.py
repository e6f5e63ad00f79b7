"""Follows the processes that trials run in: a silent one is asked for its stack and ended, one that was lost is started
again, also where memory ran out, and one that grew too large is replaced."""

from __future__ import annotations

import contextlib
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
from platform.runner.messages import Assignment, WorkerProcess, assignment_of, progress_of
from platform.training import accumulation

__all__ = ["Watchdog"]

LOOK_SECONDS = 1.0
STALLED_SECONDS = 10.0
"""Of the driver itself (a paused machine, a full disk): what trials sent meanwhile is not known yet."""


@dataclass
class _Running:
    """A trial under way. since: of its last result, by the driver's monotonic clock."""

    trial: TuneTrial
    method: str
    since: float
    process: Any = None  # reference to a WorkerProcess
    evaluations: int = 0  # in this process
    times: list[float] = field(default_factory=list)
    replaced: bool = False  # on purpose


class Watchdog(Callback):
    """errors: the folder for stack dumps. `cause` gives the reason why a trial's process ended."""

    def __init__(self, driver: Driver, errors: Path) -> None:
        self._driver, self._errors, self._settings = driver, errors, driver.sweep.watch
        self._running: dict[str, _Running] = {}
        self._causes: dict[str, str] = {}
        self._first: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=100))  # seconds, by method
        self._later: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=500))
        self._looked = time.monotonic()

    # -- events of Tune ----------------------------------------------------------------------------------------------

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        assignment = assignment_of(trial)
        actor: Any = trial.temporary_state.ray_actor
        process = actor.process.remote()  # asked now: a stuck process answers nothing
        method = assignment.study.rpartition("/")[0]
        self._running[assignment.key] = _Running(trial, method, time.monotonic(), process)

    def on_trial_result(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: Any, **_: Any) -> None:
        running = self._running.get(assignment_of(trial).key)
        if running is None:
            return
        now, progress = time.monotonic(), progress_of(result)
        if progress is not None and progress.outgrown:
            running.replaced = True
            trial.max_failures += 1  # not one of the restarts that retry.lost allows
            _kill(trial)
            return
        took, running.since = now - running.since, now
        running.evaluations += 1
        running.times.append(took)
        (self._first if running.evaluations == 1 else self._later)[running.method].append(took)

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        self._running.pop(assignment_of(trial).key, None)

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **_: Any) -> None:
        """A process died and the trial waits for another one."""
        assignment = assignment_of(trial)
        running, row = self._running.pop(assignment.key, None), self._driver.rows[assignment.key]
        if running is not None and running.replaced:
            return
        if running is None:  # lost between two trials: Tune had given it this one already
            notice = "its process was lost before it began; it starts in another one"
        elif not self._short_of_memory(trial, running):
            notice = "its process was lost; it goes on from its last evaluation"
        elif parts := self._more_parts(assignment):
            trial.config.update(assignment.model_copy(update={"parts": parts}).to_config())
            notice = f"{out_of_memory.HOST}; it is started again, in {parts} parts"
        else:
            notice = f"{out_of_memory.HOST}; it is started again as it was"
        self._driver.notify(f"{row.study} #{row.number}: {notice}")

    def cause(self, trial: TuneTrial) -> str:
        """The reason why a trial whose process ended has no result: for Row.error."""
        key, error = assignment_of(trial).key, trial.get_error() or ""
        running = self._running.pop(key, None)
        if key in self._causes:
            return self._causes.pop(key)
        if running is not None and self._short_of_memory(trial, running):
            return f"{out_of_memory.HOST}: the system ended its process\n{error}"
        return f"the worker was lost: its process ended without a word, once more than retry.lost allows\n{error}"

    # -- silent trials -----------------------------------------------------------------------------------------------

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **_: Any) -> None:
        now = time.monotonic()
        gap = now - self._looked
        if gap < LOOK_SECONDS:
            return
        self._looked = now
        for key, running in list(self._running.items()):
            if gap > STALLED_SECONDS:
                running.since += gap
            if running.trial.status != TuneTrial.RUNNING:
                running.since = now
            elif now - running.since > (limit := self.limit(running)):
                self._end(key, running, now - running.since, limit)

    def limit(self, running: _Running) -> float:
        """Seconds after which a trial is stuck."""
        settings = self._settings
        if running.evaluations == 0:
            known = self._first[running.method]
            usual = statistics.median(known) if known else settings.first / settings.factor
        else:
            others = self._later[running.method]
            usual = max(statistics.median(times) for times in (running.times, others) if times)
        return max(settings.at_least, settings.factor * usual)

    def _end(self, key: str, running: _Running, silent: float, limit: float) -> None:
        row = self._driver.rows[key]
        reason = (
            f"stuck: nothing heard of it for {silent:.0f} s (limit {limit:.0f} s, see watch:); its process was ended"
        )
        path = self._errors / f"{key}.stack.txt"
        dump = self._dump(running)
        with contextlib.suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            path.write_text(dump + "\n")
        self._causes[key] = f"{reason}\nwhat it was doing: {path}\n{dump}"
        self._driver.notify(f"{row.study} #{row.number} {reason}")
        running.trial.max_failures = 0
        running.since = time.monotonic()
        _kill(running.trial)

    def _dump(self, running: _Running) -> str:
        try:
            process: WorkerProcess = ray.get(running.process, timeout=2)
            return _run_there(process, stack_dump.ask, process.pid, process.stacks)
        except Exception as error:
            return f"its stack could not be had: {type(error).__name__}: {error}"

    # -- processes that died ------------------------------------------------------------------------------------------

    def _short_of_memory(self, trial: TuneTrial, running: _Running) -> bool:
        before = now = 0
        with contextlib.suppress(Exception):  # the whole node may be gone: then there is nothing but Ray's message
            process: WorkerProcess = ray.get(running.process, timeout=2)
            before, now = process.kernel_kills, _run_there(process, out_of_memory.kernel_kills)
        return bool(out_of_memory.of_death(str(trial.get_error() or ""), before, now))

    def _more_parts(self, assignment: Assignment) -> int:
        """The number of parts to split a trial's batches into next; 0 where that is not asked for or cannot be."""
        if not assignment.may_split:
            return 0
        spec = assignment.spec
        cls = next(entry.cls for entry in self._driver.sweep.methods if entry.name == spec.method)
        return accumulation.next_parts(spec, cls, max(assignment.parts, spec.train.accumulate))[0]


def _run_there(process: WorkerProcess, function: Any, *arguments: Any) -> Any:
    """The function's result on the node of a process: here, or by a task that is sent there."""
    if process.node == ray.get_runtime_context().get_node_id():
        return function(*arguments)
    where = NodeAffinitySchedulingStrategy(process.node, soft=False)
    task: Any = ray.remote(num_cpus=0)(function).options(scheduling_strategy=where)
    return ray.get(task.remote(*arguments), timeout=30)


def _kill(trial: TuneTrial) -> None:
    actor: Any = trial.temporary_state.ray_actor
    ray.kill(actor)
