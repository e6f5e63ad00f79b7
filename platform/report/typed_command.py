"""A command as it was typed, with other settings: every key is said once."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from platform.core.redaction import redact_command

__all__ = ["with_settings"]

_WORD = re.compile(r"""(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s'"\\])+|\S""")
_SETTING = re.compile(r"[\w.-]+(?==)")


def with_settings(command: str, settings: Sequence[str]) -> str:
    """`command`, without secrets, and KEY=VALUE settings, which are quoted where that is needed.

    A typed word of one of these keys is left out, and of one below it, as the new value replaces the whole section.
    Settings stand before the first option: argparse takes them there.
    """
    keys = [key[0] for word in settings if (key := _SETTING.match(word))]
    typed = [word for word in _WORD.findall(redact_command(command)) if not _replaced(word, keys)]
    end = next((place for place, word in enumerate(typed) if word.startswith("--")), len(typed))
    return " ".join([*typed[:end], *map(shlex.quote, settings), *typed[end:]])


def _replaced(word: str, keys: Sequence[str]) -> bool:
    setting = _SETTING.match(word.lstrip("'\""))
    return setting is not None and any(setting[0] == key or setting[0].startswith(f"{key}.") for key in keys)
