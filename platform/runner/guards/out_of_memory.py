"""Whether memory ran out: in an exception of a trial, and in the death of its process."""

from __future__ import annotations

import gc
from pathlib import Path

import torch

import platform.core.accelerator as accelerator

__all__ = ["DEVICE", "HOST", "kernel_kills", "of_death", "of_exception", "release"]

DEVICE, HOST = "out of memory (device)", "out of memory (host)"
_DEVICE_TEXTS = ("CUDA error: out of memory", "CUDA out of memory", "STATUS_ALLOC_FAILED", "HIP out of memory")
_HOST_TEXTS = ("can't allocate memory", "not enough memory: you tried to allocate", "Cannot allocate memory")


def of_exception(error: BaseException | None) -> str:
    """DEVICE or HOST where the error, or one it was raised from, means that memory ran out; else nothing."""
    while error is not None:
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or any(part in text for part in _DEVICE_TEXTS):
            return DEVICE
        if isinstance(error, MemoryError) or any(part in text for part in _HOST_TEXTS):
            return HOST
        error = error.__cause__
    return ""


def of_death(error: str, kills_before: int, kills_now: int) -> str:
    """HOST where Ray's memory monitor or the kernel ended the process; else nothing.

    error: Ray's message about the death. kills_*: `kernel_kills` of the machine when the trial began and now.
    """
    monitor = "memory monitor" in error or "running low on memory" in error or "OutOfMemoryError" in error
    return HOST if monitor or kills_now > kills_before else ""


def release() -> None:
    """Free what nobody refers to any more, for the next attempt."""
    gc.collect()
    accelerator.release()


def kernel_kills() -> int:
    """Processes that this machine's kernel has ended because memory ran out; 0 where it does not count them.

    psutil does not have these counters.
    """
    for path in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        try:
            lines = Path(path).read_text().splitlines()
        except OSError:
            continue
        counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
        if counts:
            return int(counts[0])
    return 0
