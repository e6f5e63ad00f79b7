"""Sweep files from strings, as in the tests of the sweep file."""

from tests.sweepfile.conftest import entry_points_once, sweep, write

__all__ = ["entry_points_once", "sweep", "write"]
