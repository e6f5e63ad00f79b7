"""How many reports a second reach MLflow's sqlite, at 13 metrics each, and what one costs the driver.

python -m tests.bench.bench_tracking [trials] [reports per trial]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from platform.report.provenance import provenance, sentence
from platform.tracking.mlflow_writer import MlflowListener
from tests.report.fake_sweep import FakeSweep


def measure(trials: int, reports: int) -> dict[str, float]:
    """Reports/s until all is in the database, the same per second of processor time, microseconds of the driver."""
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        sweep = FakeSweep(Path(folder) / "bench", trials=trials, evaluations=reports, outcomes=("completed",))
        tracker = MlflowListener(uri, sweep.folder)
        tracker.prepare()
        rows = [(row, sweep.reports(row)) for row in sweep.rows()]
        assert all(len(report) == 15 for _, curve in rows for report in curve)  # step, evaluation and 13 metrics
        tracker.sweep_started(sweep.info)
        began, busy = time.perf_counter(), time.process_time()
        for row, curve in rows:
            sweep.start(row, tracker)
            for report in curve:
                sweep.report(row, report, tracker)
            sweep.end(row, tracker)
        handed_over = time.perf_counter() - began
        tracker.sweep_ended([row for row, _ in rows])
        took, busy = time.perf_counter() - began, time.process_time() - busy
        assert not list(sweep.folder.glob("mlflow_undelivered*"))
    count = trials * reports
    return {
        "reports": count,
        "reports_per_second": count / took,
        "reports_per_cpu_second": count / busy,
        "driver_us_per_report": 1e6 * handed_over / count,
    }


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    found = measure(*(numbers + [40, 25][len(numbers) :]))
    print(
        f"{found['reports']} reports of 13 metrics into sqlite: {found['reports_per_second']:.0f} reports/s, ", end=""
    )
    print(f"{found['driver_us_per_report']:.0f} us of the driver each")
    busy, load = found["reports_per_cpu_second"], os.getloadavg()[0]
    print(f"{busy:.0f} reports per second of processor time (load average {load:.1f})")
    print(sentence(provenance()))
