"""Python's own `platform` module, extended into the package that holds kurabe.

Run from the repository root, this folder wins over the standard library's `platform.py`, which torch, Ray, pip and
pytest import. So the standard module's code is executed in this very namespace: every name is here, functions see
patched globals, and `platform.uname_result` pickles under its usual name. tests/test_name.py compares the two. More in
CONTRIBUTING.md, "The name".
"""

import importlib.machinery as _machinery
import os as _os

_STANDARD = _os.path.join(_os.path.dirname(_os.__file__), "platform.py")
_code = _machinery.SourceFileLoader("platform", _STANDARD).get_code("platform")  # cached byte code: nothing is compiled
assert _code is not None
exec(_code, globals())
