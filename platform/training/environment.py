"""Environment variables of a process that trains. They are read when a process starts: set them before."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["MALLOC", "ROOT", "python_path", "worker_environment"]

ROOT = Path(__file__).resolve().parents[2]
"""The repository: the folder that holds `platform`."""

MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
"""Keep freed memory. By default glibc maps every large tensor anew and gives it back when it is freed, so that each
step faults in and zeroes the same pages again. With these, large tensors come from a heap that grows by 256 MiB at a
time and never shrinks: a process keeps its peak. tests/bench/bench_step.py measures the difference."""


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Environment of a worker that trains on `threads` CPU threads: thread pools of that size, MALLOC."""
    count = str(max(1, threads))
    return {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count, **MALLOC}


def python_path() -> str:
    """PYTHONPATH with the repository root first: a worker must find this `platform` before the standard module."""
    others = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != str(ROOT)]
    return os.pathsep.join([str(ROOT), *others])
