"""The token that opens a Ray to its owner: readable by nobody else. Ray itself makes the file readable by everybody."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

__all__ = ["close"]


def close() -> None:
    """Make the token that a private Ray is to use, where there is none, and shut others out of one that is there.

    Nothing where the environment names another token, or switches the authentication off.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token" or "RAY_AUTH_TOKEN" in os.environ:
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    with contextlib.suppress(OSError):  # a home that cannot be written, a file of somebody else: Ray says what it needs
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32))  # as long as Ray's own
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
