"""Checks of the tracking store before a sweep: that it answers, that its database is there and can be written."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import urllib.error
import urllib.request
from pathlib import Path

from platform.core.errors import Problem, UserError
from platform.core.uri import redact, sqlite_path

_AMBIENT = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ENABLE_ASYNC_LOGGING")
_LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs")
_OTHERWISE = "or without MLflow: tracking=none; into a file: tracking=sqlite:///results/mlflow.db"


def prepare(uri: str, timeout: float = 8.0) -> None:
    """Make or migrate a database, or see that a server answers within `timeout` seconds. Raises UserError."""
    silence()
    if uri.startswith(("http://", "https://")):
        _answers(uri, timeout)
    if (file := sqlite_path(uri)) is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab"):
                pass
        except OSError as error:
            raise _problem(uri, f"cannot write {error.filename}: {error.strerror}") from None
    _opens(uri, timeout if file is None else 120.0)
    if file is not None:
        write_ahead(file)


def write_ahead(file: Path) -> None:
    """Turn a sqlite file's write-ahead log on: one sync per commit, and the UI's reading never waits or is waited for.

    The setting stays with the file. Only on a disk of this machine: over a network file system it is not safe.
    """
    if _file_system(file) not in _LOCAL:
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        database.execute("PRAGMA journal_mode=WAL")


def fold_log(file: Path) -> None:
    """Bring the write-ahead log into the file itself, so that the file alone can be copied."""
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file, timeout=5)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _file_system(file: Path) -> str:
    """Kind of the file system `file` lies on, by the longest mount point above it; empty where that is not known."""
    found, longest = "", -1
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, point, kind = line.split(" ")[:3]
            if file.resolve().is_relative_to(point) and len(point) >= longest:
                found, longest = kind, len(point)
    return found


def silence() -> None:
    """No migration log, no ambient run of another MLflow user, no minutes of retries inside one request.

    The writer retries by itself; ours are defaults, what the user sets in the environment stays.
    """
    for name in ("alembic", "mlflow.store", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _AMBIENT:
        os.environ.pop(name, None)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def _answers(uri: str, timeout: float) -> None:
    """Raise UserError where no server answers; a refusal, of a missing password say, is left to `_opens`."""
    scheme, _, rest = uri.partition("://")
    request = f"{scheme}://{rest.rpartition('@')[2].rstrip('/')}/health"
    with contextlib.suppress(urllib.error.HTTPError):
        try:
            urllib.request.urlopen(request, timeout=timeout).close()
        except urllib.error.HTTPError:
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            server = "mlflow server --host 127.0.0.1 --port 5000 --backend-store-uri sqlite:///results/mlflow.db"
            raise _problem(uri, f"no answer within {timeout:g} s ({reason})", f"start it: {server}") from None


def _opens(uri: str, timeout: float) -> None:
    """Send one cheap query through MLflow itself, which creates or migrates a database. Raises UserError."""
    failed: list[BaseException] = []
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise _problem(uri, str(error), "pip install mlflow") from error
    silence()  # mlflow sets its loggers up when it is imported

    def ask() -> None:
        try:
            MlflowClient(uri).search_experiments(max_results=1)
        except BaseException as error:  # carried to the caller
            failed.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise _problem(uri, f"no answer within {timeout:g} s")
    if failed:
        error = failed[0]
        text = str(error).strip().splitlines()
        reason = text[0] if text else type(error).__name__
        hint = ""
        if isinstance(error, ModuleNotFoundError):
            hint = f"pip install {error.name}"
        elif "schema" in reason.lower() or "revision" in reason.lower():
            hint = f"migrate it: mlflow db upgrade {redact(uri)}"
        elif "401" in reason or "403" in reason or "UNAUTHENTICATED" in reason:
            hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        raise _problem(uri, reason, hint) from error


def _problem(uri: str, reason: str, hint: str = "") -> UserError:
    hint = "\n".join(line for line in (hint, _OTHERWISE) if line)
    return UserError(Problem(f"'{redact(uri)}': {redact(reason)}", "tracking", hint=hint))
