"""What refuses a sweep before it starts, and what only waits: a store that is away, a refused login, a wrong file."""

from __future__ import annotations

import http.server
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from platform.core.errors import UserError
from platform.core.uri import Login, SecretUri
from platform.tracking import connection

pytestmark = pytest.mark.slow


@contextmanager
def answering(status: int, body: bytes = b"") -> Iterator[str]:
    """The address of a server that gives the same answer to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"me:hunter2@127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"", "MLFLOW_TRACKING_PASSWORD"),
        (403, b"", "MLFLOW_TRACKING_PASSWORD"),
        (404, b"not found", "404"),
        (200, b"<html>a page of something else</html>", "JSON"),
    ],
)
def test_a_server_that_refuses_or_is_something_else(status: int, body: bytes, words: str) -> None:
    with answering(status, body) as address, pytest.raises(UserError) as caught:
        connection.prepare(SecretUri(f"http://{address}"), timeout=20)
    assert words in caught.value.render() and "hunter2" not in caught.value.render()


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_is_ill_is_away(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with answering(status) as address:
        assert str(status) in connection.prepare(SecretUri(f"http://{address}"), timeout=20)


def test_a_server_that_is_not_there_or_not_known_is_away() -> None:
    assert "no answer" in connection.prepare(SecretUri("http://me:hunter2@127.0.0.1:9"), timeout=2)
    assert "no answer" in connection.prepare(SecretUri("http://no-such-host.invalid:5000"), timeout=2)


def test_a_database_of_another_schema_and_a_file_that_is_none(empty_database: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    shutil.copy(empty_database, other)
    with closing(sqlite3.connect(other)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '000000000000'")
    with pytest.raises(UserError, match="mlflow db upgrade"):
        connection.prepare(SecretUri(f"sqlite:///{other}"))
    none = tmp_path / "none.db"
    none.write_bytes(b"no database" * 1000)
    with pytest.raises(UserError):
        connection.prepare(SecretUri(f"sqlite:///{none}"))


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        ('connection to server at "db", port 5432 failed: Connection refused', False),
        ('could not translate host name "db" to address', False),
        ('FATAL:  password authentication failed for user "me"', True),
        ("(1045, \"Access denied for user 'me'@'host' (using password: YES)\")", True),
        ('FATAL:  database "x" does not exist', True),
    ],
)
def test_a_database_server(error: str, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(uri: str) -> None:
        assert uri == "postgresql://me:hunt%2Fer2@db/x"
        raise OperationalError(None, None, Exception(f"{error} (hunt/er2)"))

    monkeypatch.setattr(connection, "_connects", fail)
    uri = SecretUri("postgresql://me:hunt/er2@db/x")
    if refused:
        with pytest.raises(UserError) as caught:
            connection.prepare(uri)
        assert "er2" not in caught.value.render()
    else:
        assert error in (away := connection.prepare(uri)) and "er2" not in away


def test_a_login_is_lent_to_mlflow_and_kept_from_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "own")
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    before = connection.log_in(Login("me", "hunter2"))
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "hunter2" and os.environ["MLFLOW_TRACKING_USERNAME"] == "me"
    with connection.without_login():
        assert not [name for name in os.environ if name.startswith("MLFLOW_TRACKING")]
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "hunter2"
    connection.log_out(before)
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "own" and "MLFLOW_TRACKING_USERNAME" not in os.environ
