"""Forecasts what a sweep takes, from measured costs of its trials: device-seconds, wall time, disk, with intervals."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from platform.core.durations import clock
from platform.core.row import Row
from platform.core.rungs import evaluation_steps
from platform.core.stopping_rules import MEDIAN_SAMPLES
from platform.dry_run.measure import Cost
from platform.dry_run.plan import MANY
from platform.dry_run.printing import make_table
from platform.dry_run.scheduler_simulation import forecast, forecast_median
from platform.sweepfile.checked_sweep import Study, Sweep
from platform.sweepfile.schema import UNLIMITED, Budget

if TYPE_CHECKING:
    from rich.console import RenderableType

START = 6.0
"""Seconds before the first trial and after the last one: Ray, MLflow, figures. Without the workers' own start."""

BETWEEN = 0.25
"""Seconds from the end of a trial to the start of the next in its slot, beside building it."""

DOUBT = 0.25
"""Relative uncertainty of the machine's speed, which is measured for a few seconds only."""

LEDGER_ROW, MLFLOW_ROW, MLFLOW_METRIC, CURVE_VALUE = 5_000, 10_000, 290, 6
"""Bytes: of a trial's lines in the ledger beside its evaluations, of a run in MLflow's sqlite file, of a metric there
(its table and three indices), of a value in curves.parquet."""

FIGURES, MLFLOW_FILE, TABLES_FILE = 600_000, 800_000, 30_000
"""Bytes: figures of a method, as large again as MLflow's artefacts; MLflow's file and the tables when empty."""


@dataclass(frozen=True)
class StudyForecast:
    """The forecast of what is left of one study. seconds and trial are device-seconds."""

    method: str
    trials: float  # still to run
    share: float  # of their steps that a scheduler lets them make
    trial: float  # a whole one
    seconds: float  # its search
    slot: float  # the same, with what a slot waits between trials
    repeats: int
    doubt: float  # relative, of seconds


@dataclass(frozen=True)
class SweepForecast:
    studies: list[StudyForecast]
    wall: float  # seconds
    low: float
    high: float
    disk: dict[str, float]  # bytes at most, by what takes them
    unknown: dict[str, str]  # methods that could not be measured, and why


def predict(sweep: Sweep, costs: Iterable[Cost], slots: int, done: Mapping[str, Row] | None = None) -> SweepForecast:
    """Forecast what is left to run. done: rows of the ledger, by key."""
    of = {cost.method: cost for cost in costs}
    known = {name: cost for name, cost in of.items() if cost.steps}
    ended = [row for row in (done or {}).values() if row.outcome not in (None, "preempted")]
    studies = [_study(sweep, s, known[s.method.name], ended) for s in sweep.studies() if s.method.name in known]
    work = sum(s.slot + s.repeats * (s.trial + _beside(known[s.method], 1.0, sweep)) for s in studies)
    longest = max((s.trial for s in studies), default=0.0)
    ready = fmean([cost.ready for cost in known.values()]) if known else 0.0
    idle = longest * (slots - 1) / (2 * slots)  # while the last trials end one after the other
    wall = START + ready + work / slots + idle if work else START
    # Doubts of studies are independent of each other; the machine's is common to all.
    own = math.sqrt(sum((s.doubt * s.seconds) ** 2 for s in studies)) / work if work else 0.0
    doubt = math.hypot(own, DOUBT)
    spread = (wall - START) * doubt + (longest / slots if work else 0.0)
    low, high = max(START, wall - spread), wall + spread
    unknown = {name: cost.error for name, cost in of.items() if not cost.steps}
    return SweepForecast(studies, wall, low, high, _disk(sweep, studies, known, slots), unknown)


def _study(sweep: Sweep, study: Study, cost: Cost, ended: list[Row]) -> StudyForecast:
    budget, own = sweep.budget, [row for row in ended if row.study == study.id]
    evaluations = len(evaluation_steps(sweep.train.steps, sweep.train.evaluations))
    trials = [sweep.train.steps * s + evaluations * e for s, e in zip(cost.steps, cost.evaluations, strict=True)]
    trial = fmean(trials) + cost.first
    before = Counter(bool(row.repeat) for row in own)
    share, spread = _share(budget, min(MANY, study.trials), evaluations)
    left = float(max(0, study.trials - before[False]))
    if study.trials >= UNLIMITED:
        left = math.inf
    if budget.seconds is not None:
        granted = max(0.0, budget.seconds - sum(row.spent for row in own if not row.repeat))
        left = min(left, granted / (share * trial))
    seconds = left * share * trial
    slot = seconds + left * _beside(cost, share, sweep)
    # Of few points the mean is uncertain; a search that goes where trials are long (or short) shifts it once more.
    points = stdev(trials) / trial if len(trials) > 1 else 0.5 * bool(study.space)
    doubt = math.hypot(points * math.sqrt(1 / len(trials) + 1 / max(1.0, left)), spread / share)
    if budget.seconds is not None and left < study.trials - before[False]:
        doubt = 0.05  # the budget itself fixes the seconds
    return StudyForecast(
        study.method.name, left, share, trial, seconds, slot, max(0, budget.repeats - before[True]), doubt
    )


def _beside(cost: Cost, share: float, sweep: Sweep) -> float:
    """Seconds of a slot that are not part of a trial: building it, its checkpoints, the pause between two trials."""
    return BETWEEN + cost.begin + share * sweep.train.evaluations * cost.save


def _share(budget: Budget, trials: int, evaluations: int) -> tuple[float, float]:
    """The part of all evaluations that the scheduler lets a study make, and its standard deviation over studies."""
    if budget.scheduler in ("none", "pbt") or trials < 2:
        return 1.0, 0.0
    if budget.scheduler == "median":
        found = forecast_median(trials, evaluations, budget.grace, MEDIAN_SAMPLES)
    else:
        hyperband = budget.scheduler == "hyperband"
        found = forecast(trials, evaluations, budget.reduction_factor, budget.grace, hyperband)
    return found.share, found.spread


def _disk(sweep: Sweep, studies: list[StudyForecast], known: dict[str, Cost], slots: int) -> dict[str, float]:
    """The most bytes that results/NAME and MLflow grow by."""
    rows = {m: sum(s.trials + s.repeats for s in studies if s.method == m) for m in known}
    reports = {m: sum(s.trials * s.share + s.repeats for s in studies if s.method == m) for m in known}
    reports = {m: count * sweep.train.evaluations for m, count in reports.items()}
    largest = max((cost.checkpoint for cost in known.values()), default=0)
    winners = sum(known[s.method].checkpoint for s in studies)
    tables = TABLES_FILE + sum(
        rows[m] * LEDGER_ROW + reports[m] * (c.report + 80 + CURVE_VALUE * c.metrics) for m, c in known.items()
    )
    found = {"checkpoints": winners + (slots + 1) * largest, "tables": tables, "figures": FIGURES * len(known)}
    if sweep.tracking.startswith("sqlite"):
        metrics = sum(reports[m] * cost.metrics * MLFLOW_METRIC for m, cost in known.items())
        found["MLflow"] = MLFLOW_FILE + sum(rows.values()) * MLFLOW_ROW + metrics + FIGURES * len(known)
    return found


# -- text --------------------------------------------------------------------------------------------------------------


def describe(sweep: Sweep, found: SweepForecast, slots: int, folder: Path, free: float, now: float) -> RenderableType:
    """The forecast for a console. free: bytes left where `folder` (results/NAME) lies. now: seconds since the epoch."""
    from rich.console import Group
    from rich.text import Text

    head = Text(f"What it will take, from a few measured steps with {_at_once(slots)} on this machine", style="bold")
    lines: list[Any] = [head, _table(found), Text(_when(found, now))]
    lines += [Text(f"{name} could not be measured: {why}", style="red") for name, why in found.unknown.items()]
    total = sum(found.disk.values())
    parts = ", ".join(f"{name} {size(count)}" for name, count in found.disk.items())
    lines.append(Text(f"On disk up to {size(total)} ({parts}); {size(free)} are free for {folder}"))
    if total > free:
        lines.append(Text("That does not fit. Free some space, or take another place: --results DIR", style="bold red"))
    return Group(*lines, Text())


def _at_once(slots: int) -> str:
    return f"{slots} trial{'s' * (slots != 1)} at once"


def _table(found: SweepForecast) -> RenderableType:
    table = make_table("method", "a whole trial", "trials", "of their steps", "search", "repeats")
    for method in dict.fromkeys(s.method for s in found.studies):
        own = [s for s in found.studies if s.method == method]
        trials, repeats = sum(s.trials for s in own), sum(s.repeats for s in own)
        share = fmean([s.share for s in own])
        seconds = sum(s.seconds for s in own)
        again = f"{repeats}: {seconds_text(sum(s.repeats * s.trial for s in own))}" if repeats else "none"
        table.add_row(method, seconds_text(own[0].trial), f"{trials:.0f}", f"{share:.0%}", seconds_text(seconds), again)
    return table


def _when(found: SweepForecast, now: float) -> str:
    if not found.studies or found.wall <= START:
        return "Nothing is left to run."
    charged = sum(s.seconds + s.repeats * s.trial for s in found.studies)
    end, low, high = (_moment(now + seconds, now) for seconds in (found.wall, found.low, found.high))
    end += f" ({low} to {high})" if low != high else ""
    return (
        f"{seconds_text(charged)} of training and evaluation. On the clock about {clock(found.wall)}, likely "
        f"{clock(found.low)} to {clock(found.high)}; started now, it ends about {end}."
    )


def _moment(at: float, now: float) -> str:
    """14:05, or with the day where that is not today."""
    moment, today = time.localtime(at), time.localtime(now)
    return time.strftime("%H:%M" if moment.tm_yday == today.tm_yday else "%a %d %b %H:%M", moment)


def seconds_text(value: float) -> str:
    """0.42 s, 35 s, 1:05:00."""
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s" if value < 600 else clock(value)


def size(count: float) -> str:
    """Bytes as text: 950 B, 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} TB"
