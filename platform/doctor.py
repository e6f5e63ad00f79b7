"""Examines the machines that a sweep would run on, and says in one table what is wrong and what to do.

python -m platform.doctor [SPACE.yaml] [--address HOST:PORT]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from platform.core.invocation import program

if TYPE_CHECKING:
    from platform.runner.health.health_findings import HealthFinding


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: a sweep can run. 1: something is bad. 2: no cluster answers, or the sweep file has errors."""
    options = _parser().parse_intermixed_args(argv)
    from platform.core.errors import UserError

    try:
        findings = _examine(options)
    except UserError as error:
        print(error.render("nothing was examined"), file=sys.stderr)
        return 2
    from rich.console import Console

    from platform.runner.health.health_table import health_table

    Console().print(health_table(findings))
    bad = sum(each.verdict == "bad" for each in findings)
    print(f"{bad} of {len(findings)} findings are bad" if bad else "a sweep can run")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("doctor"),
        description="Can a sweep run here, or on a cluster? Asks every node for versions, clock, GPU, disk, data.",
        epilog=f"example: {program('doctor')} search_spaces/layermatch.yaml --address auto",
    )
    parser.add_argument("space", nargs="?", help="a sweep file: its data and its MLflow are looked for, too")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change a value of the sweep file")
    parser.add_argument("--address", help="a running Ray cluster: HOST:PORT, ray://HOST:PORT or auto")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder for results (default: results)")
    return parser


def _examine(options: argparse.Namespace) -> list[HealthFinding]:
    from platform.runner import cluster
    from platform.runner.health import examine

    sweep = None
    if options.space:
        import platform.sweepfile as sweepfile

        sweep = sweepfile.load(options.space, options.overrides)
    address = cluster.check(options.address)
    if address is None:
        return [*examine.local_findings(options.results, sweep), examine.mlflow_finding(sweep)]
    cluster.connect(address, threads=1)
    try:
        return [*examine.cluster_findings(options.results, sweep), examine.mlflow_finding(sweep)]
    finally:
        cluster.stop()


if __name__ == "__main__":
    from platform.runner.guards import command_line

    command_line.hide_tracebacks()
    code = main(command_line.take())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Ray's exit handlers take seconds
