"""Makes the folder `platform` importable however pytest was started.

`python -m pytest` puts the repository root first. A bare `pytest` has imported the standard library's `platform`
before anybody could ask it not to: kurabe.py turns that module into the package, as it does for every user.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import kurabe  # noqa: E402, F401
