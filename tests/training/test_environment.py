"""The settings reach a process and do what they say: freed tensors are not given back."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import platform as standard
from platform.training.environment import MALLOC, ROOT, python_path, worker_environment

PROBE = """
import resource, ctypes
libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; libc.free.argtypes = [ctypes.c_void_p]
def faults():
    place = libc.malloc(8 << 20); ctypes.memset(place, 1, 8 << 20); libc.free(ctypes.c_void_p(place))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
libc.malloc.argtypes = [ctypes.c_size_t]
faults(); before = faults()
for _ in range(10): after = faults()
print(after - before)
"""


def faults(environment: dict[str, str]) -> int:
    clean = {k: v for k, v in os.environ.items() if k not in MALLOC}
    done = subprocess.run([sys.executable, "-c", PROBE], env=clean | environment, capture_output=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(standard.libc_ver()[0] != "glibc", reason="settings of glibc's malloc")
def test_freed_memory_is_kept():
    """8 MiB are 2,048 pages: mapped anew ten times without the settings, never with them."""
    assert faults(worker_environment()) < 100
    assert set(MALLOC) <= set(worker_environment())


def test_threads():
    assert worker_environment(3)["OMP_NUM_THREADS"] == "3" and worker_environment(0)["OMP_NUM_THREADS"] == "1"


def test_the_repository_comes_first_on_the_python_path_and_only_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/elsewhere", str(ROOT), ""]))
    assert python_path().split(os.pathsep) == [str(ROOT), "/elsewhere"]
    monkeypatch.delenv("PYTHONPATH")
    assert python_path() == str(ROOT) and (ROOT / "platform" / "training" / "environment.py").is_file()
