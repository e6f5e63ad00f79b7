"""`python -m platform` prints what Python's own module prints, arguments included."""

import runpy

import platform

runpy.run_path(vars(platform)["_STANDARD"], run_name="__main__")  # vars: type checkers see the standard module's stub
