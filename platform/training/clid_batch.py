"""The fixed validation batch on which CLID is computed."""

from __future__ import annotations

import numpy as np

__all__ = ["CLID_IMAGES", "CLID_TEMPERATURE", "clid_positions"]

CLID_IMAGES = 256
CLID_TEMPERATURE = 0.5


def clid_positions(val: np.ndarray) -> np.ndarray:
    """The images of the fixed CLID batch: evenly spaced, so that a sorted validation part gives all classes."""
    count = min(CLID_IMAGES, len(val))
    return val[np.linspace(0, len(val) - 1, count).astype(np.int64)] if count else val
