"""Tracking URIs: which ones MLflow takes, where a relative sqlite file lies, how to show one without its secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platform.core.errors import Problem

DEFAULT = "sqlite:///results/mlflow.db"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = ("http", "https", "databricks", "databricks-uc", "uc")

_USERINFO = re.compile(r"(?<=://)[^\s/'\"]*@")
_SECRET = re.compile(
    r"(?i)([?&;\s](?:[a-z_]*password|passwd|pwd|[a-z_]*token|[a-z_]*secret|[a-z_]*api_?key|sslkey)=)[^&;\s'\"]+"
)


def redact(text: str) -> str:
    """`text` with user:password@ and ?token=... of every URI in it replaced by ***."""
    return _SECRET.sub(r"\1***", _USERINFO.sub("***@", text))


def scrub(value: Any) -> Any:
    """`redact` on every string of a nested structure; what files and runs are written from."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: scrub(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item) for item in value]
    return value


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
    """What is wrong with the form of a tracking URI, or None. Nothing is contacted."""
    shown = redact(uri)
    scheme = urlsplit(uri).scheme.partition("+")[0].lower()
    if scheme == "sqlite" and sqlite_path(uri) is None:
        return Problem(f"'{shown}' names no file", "tracking", hint="expected: sqlite:///results/mlflow.db")
    if scheme in DATABASES or scheme in SERVERS or uri in SERVERS:
        return None
    folder = scheme == "file" or "://" not in uri
    text = "is a folder, which MLflow no longer takes" if folder else "is no tracking URI that MLflow takes"
    suggestion = f"sqlite:///{urlsplit(uri).path.rstrip('/') or 'results'}/mlflow.db" if folder else DEFAULT
    hint = f"a file: tracking={suggestion}\na server: tracking=http://127.0.0.1:5000\nno MLflow: tracking=none"
    return Problem(f"'{shown}' {text}", "tracking", hint=hint)
