"""`python -m platform` prints what Python's own module prints."""

import platform
import runpy

runpy.run_path(platform._STANDARD, run_name="__main__")
