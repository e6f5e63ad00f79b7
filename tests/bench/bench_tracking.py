"""How many reports a second reach MLflow's sqlite, at 13 metrics each, and what one costs the driver. Claim: 200.

    python -m tests.bench.bench_tracking [trials] [reports per trial]

Beside it, in the same run and in turn, Ray's own MLflow callback is given the same reports (fewer: it is slow).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from platform.core.events import SweepEnded, SweepStarted
from platform.core.row import Row
from platform.core.uri import SecretUri
from platform.report.provenance import provenance, sentence
from platform.tracking import connection
from platform.tracking.mlflow_writer import MlflowListener
from tests.report.fake_sweep import FakeSweep

ROUNDS = 3


def measure(trials: int, reports: int) -> dict[str, float]:
    """Reports/s until all is in the database, the same per second of processor time, microseconds of the driver."""
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        sweep = FakeSweep(Path(folder) / "bench", trials=trials, evaluations=reports, outcomes=("completed",))
        tracker = MlflowListener(uri, sweep.folder)
        tracker.prepare()
        rows = [(row, sweep.reports(row)) for row in sweep.rows()]
        assert all(len(report) == 15 for _, curve in rows for report in curve)  # step, evaluation and 13 metrics
        tracker.handle(SweepStarted(sweep.info))
        began, busy = time.perf_counter(), time.process_time()
        for row, curve in rows:
            sweep.start(row, tracker)
            for report in curve:
                sweep.report(row, report, tracker)
            sweep.end(row, tracker)
        handed_over = time.perf_counter() - began
        tracker.handle(SweepEnded([row for row, _ in rows]))
        took, busy = time.perf_counter() - began, time.process_time() - busy
        assert not len(tracker._undelivered)
    count = trials * reports
    return {
        "reports": count,
        "reports_per_second": count / took,
        "reports_per_cpu_second": count / busy,
        "driver_us_per_report": 1e6 * handed_over / count,
    }


class _TuneTrial:
    """What Ray's callback asks of a trial: a name, a configuration, to be a key."""

    def __init__(self, row: Row) -> None:
        self.config = dict(row.params)
        self.name = row.key

    def __str__(self) -> str:
        return self.name


def measure_ray(trials: int, reports: int) -> float:
    """Reports/s through Ray's MLflowLoggerCallback, into a sqlite file that was made before."""
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        sweep = FakeSweep(Path(folder) / "bench", trials=trials, evaluations=reports, outcomes=("completed",))
        connection.prepare(SecretUri(uri))
        rows = [(_TuneTrial(row), sweep.reports(row)) for row in sweep.rows()]
        callback = MLflowLoggerCallback(uri, experiment_name="ray")
        callback.setup()
        began = time.perf_counter()
        for trial, curve in rows:
            callback.log_trial_start(trial)
            for number, report in enumerate(curve, 1):
                metrics = {k: v for k, v in report.items() if k not in ("step", "evaluation")}
                callback.log_trial_result(number, trial, metrics | {"training_iteration": number})
            callback.log_trial_end(trial)
        return trials * reports / (time.perf_counter() - began)


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:3]]
    trials, reports = numbers + [40, 25][len(numbers) :]
    ours: list[dict[str, float]] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(measure(trials, reports))
        theirs.append(measure_ray(2, 5))
    rates = [found["reports_per_second"] for found in ours]
    cost = statistics.median(found["driver_us_per_report"] for found in ours)
    busy = statistics.median(found["reports_per_cpu_second"] for found in ours)
    print(f"{ROUNDS} rounds of {trials * reports} reports of 13 metrics into sqlite, and of 10 through Ray's callback")
    print(f"here: median {statistics.median(rates):.0f} reports/s ({min(rates):.0f} to {max(rates):.0f}), ", end="")
    print(f"{cost:.0f} us of the driver each, {busy:.0f} per second of processor time")
    print(
        f"Ray's MLflowLoggerCallback: median {statistics.median(theirs):.1f} ({min(theirs):.1f} to {max(theirs):.1f})"
    )
    print(f"ratio of the medians: {statistics.median(rates) / statistics.median(theirs):.0f}")
    print(f"load average {os.getloadavg()[0]:.1f}; {sentence(provenance())}")


if __name__ == "__main__":
    main()
