"""Checks of the tracking store before a sweep: that it answers, that its database is there and can be written."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import re
import sqlite3
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from platform.core.errors import Problem, UserError
from platform.core.uri import Login, SecretUri, sqlite_path
from platform.tracking.delivery import passes

_AMBIENT = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ENABLE_ASYNC_LOGGING")
_LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "tmpfs")
_LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI")
_REFUSED = re.compile(
    r"\b40[13]\b|unauthenticated|permission_denied|authentication failed|access denied|unknown database|"
    r'database ".*" does not exist|no password supplied'
)
LOGIN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_OTHERWISE = "or without MLflow: tracking=none; into a file: tracking=sqlite:///results/mlflow.db"


def prepare(uri: SecretUri, timeout: float = 8.0) -> str:
    """Make or migrate a database, or see that a server answers within `timeout` seconds.

    Returns why it cannot be reached now, or nothing; a later attempt may help then. Raises UserError where none can:
    a file that cannot be written, a refused login, a database of another version, an address of something else.
    """
    silence()
    if uri.is_server and (away := _answers(uri, timeout)):
        return away
    if (file := sqlite_path(uri.public)) is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab"):
                pass
        except OSError as error:
            raise _problem(uri, f"cannot write {error.filename}: {error.strerror}") from None
    away = _opens(uri, timeout if file is None else 120.0)
    if file is not None:
        write_ahead(file)
    return away


def version_of_pages(uri: SecretUri, timeout: float = 8.0) -> str:
    """The version of the MLflow whose pages show the store: the server's; of a database, the one installed here.

    Empty where it cannot be found out.
    """
    if not uri.is_server:
        import mlflow.version

        return mlflow.version.VERSION
    try:
        with urllib.request.urlopen(f"{uri.public.rstrip('/')}/version", timeout=timeout) as answer:
            return answer.read(100).decode().strip()
    except (OSError, ValueError, http.client.HTTPException):
        return ""


def log_in(login: Login) -> dict[str, str | None]:
    """Give MLflow name and password for a server, by its environment variables. Returns what `log_out` puts back."""
    given = {"MLFLOW_TRACKING_USERNAME": login.user, "MLFLOW_TRACKING_PASSWORD": login.password}
    given = {name: value for name, value in given.items() if value}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    return before


def log_out(before: dict[str, str | None]) -> None:
    """Undo `log_in`."""
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def without_login() -> Iterator[None]:
    """Processes that are started inside the block, Ray's, do not inherit what logs in to the tracking store."""
    kept = {name: os.environ.pop(name, None) for name in _LOGIN}
    try:
        yield
    finally:
        log_out(kept)


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
    """Turn off the migration log, another MLflow user's ambient run and minutes of retries inside one request.

    The writer retries by itself; ours are defaults, what the user sets in the environment stays.
    """
    for name in ("alembic", "mlflow.store", "mlflow.tracking"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _AMBIENT:
        os.environ.pop(name, None)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines into the table, for each run


def _answers(uri: SecretUri, timeout: float) -> str:
    """The reason why no server answers, or ""; a refusal, of a missing password say, is left to `_opens`."""
    try:
        urllib.request.urlopen(f"{uri.public.rstrip('/')}/health", timeout=timeout).close()
    except urllib.error.HTTPError:
        pass
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        text = uri.hide(f"no answer within {timeout:g} s ({reason})")
        if isinstance(error, ValueError) or isinstance(reason, ssl.SSLCertVerificationError):
            raise _problem(uri, text) from None
        return text
    return ""


def _opens(uri: SecretUri, timeout: float) -> str:
    """Send one cheap query through MLflow itself, which creates or migrates a database. Why it had no answer."""
    failed: list[BaseException] = []
    try:
        from mlflow import MlflowClient
    except ImportError as error:
        raise _problem(uri, str(error), "pip install mlflow") from error
    silence()  # mlflow sets its loggers up when it is imported

    def ask() -> None:
        try:
            if not uri.is_server and sqlite_path(uri.public) is None:
                _connects(uri.reveal())
            MlflowClient(uri.reveal()).search_experiments(max_results=1)
        except BaseException as error:  # carried to the caller
            failed.append(error)

    before = log_in(uri.login())
    try:
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(timeout)
    finally:
        log_out(before)
    if thread.is_alive():
        return f"no answer within {timeout:g} s"
    if not failed:
        return ""
    reason, hint = reason_of(failed[0], uri), _hint(failed[0], uri)
    if not hint and _may_pass(failed[0], uri):
        return reason
    raise _problem(uri, reason, hint)


def _connects(uri: str) -> None:
    """Connect to a database once: MLflow tries for minutes, also where the login is refused."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError

    with contextlib.suppress(ArgumentError):  # not SQLAlchemy's, databricks say
        create_engine(uri).connect().close()


def reason_of(error: BaseException, uri: SecretUri) -> str:
    """The first line of an error, without secrets."""
    lines = str(error).strip().splitlines()
    return uri.hide(lines[0]) if lines else type(error).__name__


def _hint(error: BaseException, uri: SecretUri) -> str:
    """Advice on an error that will not pass; empty for any other."""
    reason = str(error).lower()
    if isinstance(error, ModuleNotFoundError):
        return f"pip install {error.name}"
    if "schema" in reason or "revision" in reason:
        return f"migrate it: mlflow db upgrade {uri}"
    if _REFUSED.search(reason):
        return LOGIN if uri.is_server else "give the right login: in the URI, or as the database's driver reads one"
    return ""


def _may_pass(error: BaseException, uri: SecretUri) -> bool:
    """Whether a store that answered so at the start may answer otherwise later."""
    reason = str(error).lower()
    if sqlite_path(uri.public) is not None:
        return "locked" in reason
    if not passes(error) or "valid json" in reason or any(c.__name__ == "ArgumentError" for c in type(error).__mro__):
        return False
    found = re.search(r"error code (\d{3})\b", reason)
    code = int(found[1]) if found else getattr(error, "get_http_status_code", lambda: 500)()
    return code >= 500 or code in (408, 425, 429)


def _problem(uri: SecretUri, reason: str, hint: str = "") -> UserError:
    hint = "\n".join(line for line in (hint, _OTHERWISE) if line)
    return UserError(Problem(f"'{uri}': {reason}", "tracking", hint=hint))
