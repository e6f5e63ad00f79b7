"""The door as a user meets it: a real process in the repository root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "platform.sweep", *map(str, words)]


def sweep(*words: str | Path, timeout: float = 240, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the door to its end."""
    return subprocess.run(
        command(*words),
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
