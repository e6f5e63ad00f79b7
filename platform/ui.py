"""Opens MLflow on the methods of the latest sweep. A sweep may run meanwhile: the pages follow it.

python -m platform.ui [--tracking sqlite:///results/mlflow.db] [--port 5000]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Iterator

from platform.core.errors import Problem, UserError
from platform.core.invocation import program
from platform.core.uri import DEFAULT, SecretUri, problem

HOST = "127.0.0.1"
START_SECONDS = 120.0


def main(argv: list[str] | None = None) -> int:
    """Exit code: that of the server; 0 when it was ended by Ctrl-C or SIGTERM. 2: bad input, nothing was started."""
    options = _parser().parse_args(argv)
    try:
        return _serve(options)
    except UserError as error:
        print(error.render("nothing was started"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("ui"),
        description="MLflow's pages on this machine, opened on the methods of the latest sweep. Ctrl-C ends it.",
    )
    parser.add_argument("--tracking", default=DEFAULT, metavar="URI", help=f"the database of the runs ({DEFAULT})")
    parser.add_argument("--port", type=int, default=5000, help="of http://127.0.0.1 (5000)")
    parser.add_argument("--no-open", action="store_true", help="print the addresses, open no browser")
    return parser


def _serve(options: argparse.Namespace) -> int:
    from platform.tracking import connection

    uri = SecretUri(options.tracking)
    if wrong := problem(uri.public):
        raise UserError(wrong)
    if uri.is_server:
        hint = f"it serves its pages itself: open {uri.public}"
        raise UserError(Problem(f"'{uri.public}' is a server, not a database", "--tracking", hint=hint))
    _check_port(options.port)
    if away := connection.prepare(uri):
        raise UserError(Problem(f"'{uri.public}': {away}", "--tracking"))
    server = f"http://{HOST}:{options.port}"
    with _mlflow(uri.reveal(), options.port) as process:
        if _answers(process, server):
            _announce(server, uri.reveal(), not options.no_open)
        return process.wait()


def _check_port(port: int) -> None:
    with contextlib.closing(socket.socket()) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except (OSError, OverflowError) as error:
            hint = f"take another one: make ui PORT={port + 1}, or --port {port + 1}"
            raise UserError(Problem(f"port {port} cannot be used: {error}", "--port", hint=hint)) from error


@contextlib.contextmanager
def _mlflow(uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that ends with this process. The database's address goes by the environment: it may hold a password."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    # Without the last one, five more processes: they run what language models are judged by.
    added = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | added
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and the processes it has started, which are a group of their own."""
    for how, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _answers(process: subprocess.Popen[bytes], server: str) -> bool:
    """Wait until the server is up; False where it ended instead."""
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server}/health", timeout=2).close()
            return True
        time.sleep(0.3)
    return False


def _announce(server: str, uri: str, may_open: bool) -> None:
    from platform.tracking.pages import pages

    found = pages(uri)
    print(f"MLflow is at {server} (Ctrl-C ends it).", "Methods of each sweep:" if found else "No sweep is in it yet.")
    for name, address in found:
        print(f"  {name:<24} {server}/{address}")
    sys.stdout.flush()
    screen = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if may_open and screen and sys.stdout.isatty():
        webbrowser.open(f"{server}/{found[0][1]}" if found else server)


if __name__ == "__main__":
    sys.exit(main())
