"""Does a long sweep slow down or swell? Claim: flat in memory, overhead per trial that does not grow, over 500 trials.

    python -m tests.bench.bench_long [--trials N] [key=value ...]

Trials of 2 steps on 60 digits, as in bench_trials, with the defaults: TPE, ASHA, ledger, MLflow in sqlite, one slot.
Overhead is the time from the first step of a trial to that of the next, less training and evaluation. Processor time is
the driver's, all its threads: a busy machine blurs it less. key=value: of the sweep, such as budget.sampler=random.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from platform.report.provenance import provenance, sentence
from tests.bench.bench_trials import PLUGIN, ROOT, SPACE, overheads, read_marks


@dataclass
class Course:
    """overhead: milliseconds by trial. driver, worker: (trials done, MiB) as sampled.

    busy: (trials done, seconds of the driver's processor time).
    """

    overhead: list[float]
    driver: list[tuple[int, float]]
    worker: list[tuple[int, float]]
    busy: list[tuple[int, float]]

    def early_and_late(self) -> tuple[list[float], list[float]]:
        """The overhead of trials 10 to 30 %, and of the last 20 %."""
        count = len(self.overhead)
        return self.overhead[count // 10 : 3 * count // 10], self.overhead[-count // 5 :]

    def busy_early_and_late(self) -> tuple[float, float]:
        """Milliseconds of the driver's processor time per trial over the same trials, by least squares."""
        done, seconds = np.array(self.busy).T
        count = len(self.overhead)
        spans = ((count / 10, 3 * count / 10), (4 * count / 5, count))
        chosen = [(done >= low) & (done < high) for low, high in spans]
        early, late = (1000 * float(np.polyfit(done[span], seconds[span], 1)[0]) for span in chosen)
        return early, late

    @staticmethod
    def growth(samples: list[tuple[int, float]]) -> float:
        """MiB per 100 trials over the second half, by least squares. Without the end: then the figures are drawn."""
        done, size = np.array(samples).T
        half = (done >= done.max() / 2) & (done < done.max())
        return float(100 * np.polyfit(done[half], size[half], 1)[0])


def measure(trials: int, *words: str) -> Course:
    with tempfile.TemporaryDirectory(prefix="kurabe-") as name:
        folder = Path(name)
        (folder / "marked.py").write_text(PLUGIN)
        (folder / "bench.yaml").write_text(SPACE.format(trials=trials, folder=folder))
        marks = folder / "marks"
        with (folder / "output").open("w") as output:
            sweep = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "platform.sweep",
                    folder / "bench.yaml",
                    *words,
                    "--results",
                    folder / "results",
                ],
                cwd=ROOT,
                env=os.environ | {"MARKS": str(marks), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        samples = list(_watch(sweep, marks))
        if sweep.returncode:
            raise RuntimeError((folder / "output").read_text()[-3000:])
        driver = [(done, size) for done, size, _, _ in samples]
        worker = [(done, size) for done, _, size, _ in samples if size]
        busy = [(done, seconds) for done, _, _, seconds in samples]
        return Course(overheads(read_marks(marks))["all"], driver, worker, busy)


def _watch(sweep: subprocess.Popen[bytes], marks: Path) -> Iterator[tuple[int, float, float, float]]:
    """Trials done, MiB of the driver, MiB of its training worker (0 where there is none), seconds of the driver's
    processor time; once a second."""
    driver = psutil.Process(sweep.pid)
    while sweep.poll() is None:
        time.sleep(1)
        with contextlib.suppress(psutil.Error, OSError):
            below = driver.children(recursive=True)
            workers = [p for p in below if "TrialTrainable" in p.name() or "ResourceTra" in p.name()]
            done = marks.read_text().count("ended")
            if size := _size(driver):  # 0 of a process that has just ended
                times = driver.cpu_times()
                yield done, size, max(map(_size, workers), default=0.0), times.user + times.system


def _size(process: psutil.Process) -> float:
    """MiB that the process has for itself. Pages of libraries are not counted: they become its own when others end."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("words", nargs="*", metavar="key=value")
    chosen = parser.parse_args()
    course = measure(chosen.trials, *chosen.words)
    early, late = course.early_and_late()
    for name, values in (("early", early), ("late", late)):
        low, middle, high = statistics.quantiles(values, n=4)
        print(f"overhead, {name:6} median {middle:6.1f} ms   quartiles {low:.1f} to {high:.1f}   n = {len(values)}")
    print(f"late / early: {statistics.median(late) / statistics.median(early):.2f}")
    print("driver, processor time per trial: early {:.1f} ms, late {:.1f} ms".format(*course.busy_early_and_late()))
    for name, samples in (("driver", course.driver), ("worker", course.worker)):
        print(f"{name}: {samples[-1][1]:.0f} MiB at the end, {course.growth(samples):+.1f} MiB per 100 trials")
    print(f"load average {os.getloadavg()[0]:.1f}; {sentence(provenance())}")


if __name__ == "__main__":
    main()
