"""How the program was called, so that messages name commands in the form that works there.

`python -m platform.sweep` works in the repository's folder alone; `kurabe sweep` and `import kurabe` work in any.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Literal

__all__ = ["Caller", "as_called", "called_by", "caller", "program"]

Caller = Literal["module", "command", "python"]
"""module: `python -m platform.NAME`. command: `kurabe NAME`. python: a function of `import kurabe`."""

_MODULE = re.compile(r"python -m platform\.([a-z]+)\b(?!\.)")
_OPTIONS = {"--allow-unequal": "allow_unequal=True"}
"""Options of commands that are arguments of a function of `kurabe`."""

_callers: list[Caller] = ["module"]


def caller() -> Caller:
    return _callers[-1]


@contextlib.contextmanager
def called_by(name: Caller) -> Iterator[None]:
    """Inside the block, or the function that it decorates, commands are named as `name` types them."""
    _callers.append(name)
    try:
        yield
    finally:
        _callers.pop()


def program(name: str) -> str:
    """The beginning of a command line: `python -m platform.sweep`, or `kurabe sweep`."""
    return as_called(f"python -m platform.{name}")


def as_called(text: str) -> str:
    """`text` with its commands in the form of the caller."""
    if caller() == "module":
        return text
    text = _MODULE.sub(r"kurabe \1", text)
    for option, argument in _OPTIONS.items() if caller() == "python" else ():
        text = text.replace(option, argument)
    return text
