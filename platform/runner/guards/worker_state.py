"""Global state and memory, which one trial must not leave to the next in the same process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import sys
import warnings
from typing import Any

import numpy as np
import psutil
import torch

import platform.core.accelerator as accelerator

__all__ = ["ProcessState", "resident"]

GROWTH = 2**30
"""Bytes of resident memory, above those after the first trial, from which on the process is replaced."""

DEVICE_GROWTH = 2**28
"""The same for what tensors hold on the GPU."""


class ProcessState:
    """State of this process before its first trial. Made once torch is imported; not before, its import changes much.

    Restored: the switches of torch and numpy, warning filters, environment, folder, import path, recursion limit. The
    global generators are seeded anew for every trial. Not restored: a plug-in's signal handlers, threads, open files.
    """

    def __init__(self) -> None:
        self._switches = _switches()
        self._filters = list(warnings.filters)
        self._environment = dict(os.environ)
        self._folder, self._path, self._limit = os.getcwd(), list(sys.path), sys.getrecursionlimit()
        self._memory: tuple[int, int] | None = None
        gc.freeze()  # modules stay: collecting after a trial looks at the trial's objects alone

    def restore(self, seed: int) -> None:
        """Before a trial: everything as it was, the global generators from `seed`."""
        _switch(self._switches)
        warnings.resetwarnings()  # and forget which ones were shown
        filters: Any = warnings.filters
        filters[:] = self._filters
        for name in os.environ.keys() - self._environment.keys():
            del os.environ[name]
        os.environ.update(self._environment)
        with contextlib.suppress(OSError):
            os.chdir(self._folder)
        sys.path[:] = self._path
        sys.setrecursionlimit(self._limit)
        if "torch._dynamo" in sys.modules:  # compiled code of one trial's model counts against the next one's limit
            torch._dynamo.reset()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)

    def outgrown(self) -> bool:
        """After a trial has been dropped: whether the process holds much more than after its first one."""
        gc.collect()
        now = (resident(), accelerator.allocated())
        if self._memory is None:
            self._memory = now
            gc.freeze()  # what the first trial imported (torch._dynamo, sklearn) stays too: 0.1 s less per collection
            return False
        if now[0] - self._memory[0] > GROWTH:
            _give_back()  # freed memory stays with the process (training/environment.py): that is no leak
            now = (resident(), now[1])
        return now[0] - self._memory[0] > GROWTH or now[1] - self._memory[1] > DEVICE_GROWTH


def resident() -> int:
    """Bytes of this process in main memory."""
    return psutil.Process().memory_info().rss


def _give_back() -> None:
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _switches() -> dict[str, Any]:
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "anomaly": torch.is_anomaly_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": {name: getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")},
        "precision": torch.get_float32_matmul_precision(),
        "errors": np.geterr(),
    }


def _switch(found: dict[str, Any]) -> None:
    torch.set_default_dtype(found["dtype"])
    torch.set_default_device(None if found["device"] == torch.device("cpu") else found["device"])
    torch.set_grad_enabled(found["gradients"])
    torch.autograd.set_detect_anomaly(found["anomaly"])
    torch.set_num_threads(found["threads"])
    torch.use_deterministic_algorithms(found["deterministic"], warn_only=found["warn_only"])
    for name, value in found["cudnn"].items():
        setattr(torch.backends.cudnn, name, value)
    torch.set_float32_matmul_precision(found["precision"])
    torch.set_flush_denormal(False)
    np.seterr(**found["errors"])
