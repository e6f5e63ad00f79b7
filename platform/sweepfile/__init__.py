"""Sweep files: what may be tried. `load` answers with every problem of a file at once, and starts nothing.

Importing this costs no torch; loading a file does, because it looks its methods up.
"""

from platform.core.rungs import rungs
from platform.sweepfile.checked_sweep import Study, Sweep
from platform.sweepfile.loading import load, load_plain
from platform.sweepfile.smoke import smoke
from platform.sweepfile.space import MethodEntry, SpaceEntry

__all__ = ["MethodEntry", "SpaceEntry", "Study", "Sweep", "load", "load_plain", "rungs", "smoke"]
