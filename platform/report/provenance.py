"""Provenance of results: code, versions, machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("kurabe", "torch", "torchvision", "timm", "ray", "optuna", "mlflow", "numpy", "scipy", "pandas")
_ROOT = Path(__file__).resolve().parents[2]


def provenance(root: Path = _ROOT) -> dict[str, Any]:
    """Git state, versions and hardware of this machine. Asks git and the GPU driver; imports nothing heavy."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git": git(root),
        "versions": versions(),
        "hardware": hardware(),
    }


def git(root: Path) -> dict[str, Any]:
    """commit, branch and dirty (tracked files changed, or untracked ones); all None outside a repository.

    An environment inside somebody's repository, of which nothing is tracked, is outside.
    """
    commit = _ask(["git", "-C", str(root), "rev-parse", "HEAD"])
    if commit is None or not _ask(["git", "-C", str(root), "ls-files"]):
        return {"commit": None, "branch": None, "dirty": None}
    status = _ask(["git", "-C", str(root), "status", "--porcelain"])
    branch = _ask(["git", "-C", str(root), "rev-parse", "--abbrev-ref", "HEAD"])
    return {"commit": commit, "branch": branch, "dirty": None if status is None else bool(status)}


def versions() -> dict[str, str]:
    installed = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, memory in GiB, GPUs with their memory and driver."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = _ask(["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
    return {
        "cpu": _processor(),
        "cores": cores,
        "memory_gib": _memory(),
        "gpus": [line.strip() for line in gpus.splitlines()] if gpus else [],
        "os": " ".join(os.uname()[i] for i in (0, 2, 4)),
    }


def sentence(provenance: dict[str, Any]) -> str:
    """Versions and hardware in one line, for captions."""
    known, machine = provenance.get("versions") or {}, provenance.get("hardware") or {}
    git = provenance.get("git") or {}
    parts = [f"{name} {known[name]}" for name in ("python", "torch", "ray", "optuna", "mlflow") if name in known]
    gpus = machine.get("gpus") or []
    place = f"{machine.get('cores', '?')} cores of {machine.get('cpu', 'an unknown processor')}"
    place += f", {len(gpus)} x {gpus[0].partition(',')[0]}" if gpus else ", no GPU"
    commit = (git.get("commit") or "no git commit")[:12] + (" with local changes" if git.get("dirty") else "")
    return f"{place}; {', '.join(parts)}; commit {commit}"


def _ask(command: list[str]) -> str | None:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return os.uname().machine


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None
