"""Tracking URIs: which ones MLflow takes, where a relative sqlite file lies, how to connect with a secret in one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from platform.core.errors import Problem
from platform.core.redaction import HIDDEN, parameters, public, redact, secret_name, split

__all__ = [
    "DATABASES",
    "DEFAULT",
    "SERVERS",
    "Login",
    "SecretUri",
    "absolute",
    "problem",
    "sqlite_path",
]

DEFAULT = "sqlite:///results/mlflow.db"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https", "databricks", "databricks-uc", "uc")

_PIECES = re.compile(r"[^@:/?#&=\s]{4,}")


@dataclass(frozen=True)
class Login:
    """Name and password for a server; either may be empty."""

    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "Login()"


class SecretUri:
    """A tracking URI as it was typed. Shown, compared and pickled, it is the URI without its secrets."""

    def __init__(self, typed: str) -> None:
        self._typed = typed
        self.public = public(typed)

    def __str__(self) -> str:
        return self.public

    def __repr__(self) -> str:
        return f"SecretUri({self.public!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretUri) and self.public == other.public

    def __hash__(self) -> int:
        return hash(self.public)

    def __reduce__(self) -> tuple[Any, ...]:
        return SecretUri, (self.public,)

    @property
    def has_secret(self) -> bool:
        return self.public != self._typed

    @property
    def is_server(self) -> bool:
        return self.public.startswith(("http://", "https://"))

    def login(self) -> Login:
        """The login to give a server beside its address; empty for a database, which takes it in its URI."""
        user, _, password = split(self._typed)[1].partition(":") if self.is_server else ("", "", "")
        return Login(unquote(user), unquote(password))

    def reveal(self) -> str:
        """The URI to connect with: that of a server without its login, that of a database with it.

        A database's name and password may have been typed with characters that mean something else in a URI: they are
        encoded, so that its driver does not take half a password for a host and names that in an error.
        """
        scheme, login, rest = split(self._typed)
        if self.is_server or not login:
            return absolute(self.public if self.is_server else self._typed)
        user, colon, password = login.partition(":")
        return f"{scheme}://{quote(unquote(user), safe='')}{colon}{quote(unquote(password), safe='')}@{rest}"

    def hide(self, text: str) -> str:
        """`text`, an error of a library say, without this URI's secrets in any spelling, nor longer parts of them."""
        text = redact(text.replace(self._typed, self.public))
        secrets = self._secrets()
        secrets |= {piece for secret in secrets for piece in _PIECES.findall(secret)}
        for secret in sorted(secrets, key=len, reverse=True):
            for spelling in {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1]}:
                text = text.replace(spelling, HIDDEN) if len(spelling) >= 4 else text
        return text

    def _secrets(self) -> set[str]:
        if not self.has_secret:
            return set()
        _, login, rest = split(self._typed)
        user, colon, password = login.partition(":")
        found = {password if colon else user}
        found |= {value for name, value in parameters(rest) if secret_name(name)}
        return {spelling for secret in found for spelling in (secret, unquote(secret)) if spelling}


def sqlite_path(uri: str) -> Path | None:
    """The file of a sqlite URI (sqlite:///relative, sqlite:////absolute), else None."""
    scheme, _, rest = uri.partition("://")
    if scheme.partition("+")[0] != "sqlite" or not rest.startswith("/"):
        return None
    path = rest[1:].partition("?")[0]
    return Path(path) if path and path != ":memory:" else None


def absolute(uri: str) -> str:
    """A relative sqlite file pinned to the current folder, so that a later change of folder does not move it."""
    path = sqlite_path(uri)
    return uri if path is None or path.is_absolute() else uri.replace(str(path), str(path.absolute()), 1)


def problem(uri: str) -> Problem | None:
    """The error in the form of a tracking URI, or None. Nothing is contacted."""
    uri = public(uri)
    try:
        parts = urlsplit(uri)
        if parts.scheme in ("http", "https") and (not parts.hostname or parts.port == 0):
            raise ValueError
    except ValueError:
        hint = "expected: http://HOST:PORT; a login with blanks or # in it needs quotes, or %20 and %23"
        return Problem(f"'{uri}' names no server", "tracking", hint=hint)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite" and sqlite_path(uri) is None:
        return Problem(f"'{uri}' names no file", "tracking", hint="expected: sqlite:///results/mlflow.db")
    if scheme in DATABASES or scheme in SERVERS or uri in SERVERS:
        return None
    folder = scheme == "file" or "://" not in uri
    text = "is a folder, which MLflow no longer takes" if folder else "is no tracking URI that MLflow takes"
    suggestion = f"sqlite:///{parts.path.rstrip('/') or 'results'}/mlflow.db" if folder else DEFAULT
    hint = f"a file: tracking={suggestion}\na server: tracking=http://127.0.0.1:5000\nno MLflow: tracking=none"
    return Problem(f"'{uri}' {text}", "tracking", hint=hint)
