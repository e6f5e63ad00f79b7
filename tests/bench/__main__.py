"""Run the benchmarks of this folder, all or the named ones, each in a process of its own.

    python -m tests.bench [NAME ...]        NAME as in tests/bench/bench_NAME.py

The machine and the versions come first, because a figure without them is none.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import platform

FOLDER = Path(__file__).parent
VERSIONS = ("torch", "ray", "optuna", "mlflow", "numpy")


def names() -> list[str]:
    return sorted(f.stem.removeprefix("bench_") for f in FOLDER.glob("bench_*.py"))


def processor() -> str:
    """The processor's model as Linux names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main(wanted: list[str]) -> int:
    """Exit code: 0, or that of the last benchmark that failed; 2 for a name that is none."""
    unknown = set(wanted) - set(names())
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are: {', '.join(names())}", file=sys.stderr)
        return 2
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    print(f"{len(os.sched_getaffinity(0))} x {processor()}, Python {platform.python_version()}, {versions}")
    code = 0
    for name in wanted or names():
        print(f"\n{name}: python -m tests.bench {name}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"tests.bench.bench_{name}"]).returncode or code
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
