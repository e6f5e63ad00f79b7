"""Search hyper-parameters and compare methods as a sweep file says.

python -m platform.sweep SPACE.yaml [key=value ...]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from platform.core.invocation import caller, program


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: the sweep ran. 1: no trial completed. 2: bad input, nothing was started.

    130: interrupted (Ctrl-C), 143: ended by SIGTERM; the same command goes on.
    """
    options = _parser().parse_intermixed_args(argv)  # options may stand between overrides
    from platform.core.errors import UserError
    from platform.runner.guards import signals
    from platform.runner.guards.broken_pipe import outlive_readers

    outlive_readers()
    with signals.listen():
        try:
            return _run(options)
        except UserError as error:
            print(error.render(), file=sys.stderr)
            return 2
        except signals.Interrupted:
            print("interrupted; nothing that was recorded is lost, the same command goes on", file=sys.stderr)
            return signals.exit_code()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("sweep"),
        description="Search hyper-parameters and compare methods as a sweep file says. Run it again to go on.",
        epilog=f"example: {program('sweep')} search_spaces/layermatch.yaml train.steps=300 labels.per_class=8",
    )
    parser.add_argument("space", help="a sweep file, such as search_spaces/layermatch.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change a value of the file")
    parser.add_argument("--dry-run", action="store_true", help="print the plan, what it will take, and stop")
    parser.add_argument(
        "--no-calibration", action="store_true", help="with --dry-run: train no steps to say how long it will take"
    )
    parser.add_argument("--smoke", action="store_true", help="send every method through the whole machine, in a minute")
    parser.add_argument("--fresh", action="store_true", help="start anew; earlier results of that name are moved aside")
    parser.add_argument("--address", help="a running Ray cluster: HOST:PORT, ray://HOST:PORT or auto")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder for results (default: results)")
    return parser


def _run(options: argparse.Namespace) -> int:
    import platform.sweepfile as sweepfile
    from platform.runner.guards import prompt_exit

    _check_words(options)
    with prompt_exit.in_seconds():
        sweep = sweepfile.load(_sweep_file(options.space), options.overrides)
        if options.smoke:
            sweep = sweepfile.smoke(sweep)
        from platform.runner import cluster

        with sweep.locate():
            address = cluster.check(options.address)
        from platform.runner.session import Session

        command = f"{program('sweep')} {' '.join(_words(options))}"
        session = Session(sweep, options.results, command, address)
        if caller() == "command":
            _say_where(options.results, session.folder)
        if options.dry_run:
            from platform.dry_run.preview import print_preview

            inputs = session.inputs
            print_preview(sweep, inputs.dataset, inputs.search_plans, session.folder, not options.no_calibration)
            if address:
                with sweep.locate():
                    print(cluster.preview(address, sweep.resources, sum(study.trials for study in sweep.studies())))
            return 0
    return session.run(fresh=options.fresh or options.smoke)


def _sweep_file(name: str) -> str:
    """The file as it was typed. `kurabe sweep`, which works in any folder, also finds the project's, and says so."""
    if caller() != "command":
        return name
    from platform.sweepfile.shipped import find_sweep_file

    found = find_sweep_file(name)
    if found.absolute() != Path(name).absolute():
        print(f"{name} is not a file here; taking {found}", flush=True)
    return str(found)


def _say_where(results: Path, folder: Path) -> None:
    default = "./results of the folder you are in; another place: --results DIR"
    print(f"results go to {folder.absolute()}" + (f" ({default})" if results == Path("results") else ""), flush=True)


def _check_words(options: argparse.Namespace) -> None:
    """Refuse names that are not UTF-8: they would stand in the ledger, in MLflow and in files that are UTF-8."""
    from platform.core.errors import Problem, UserError

    words = {"the sweep file": options.space, "--results": str(options.results), "the current folder": os.getcwd()}
    words |= {f"override {number}": word for number, word in enumerate(options.overrides, 1)}
    problems = [
        Problem("not UTF-8", where=f"{name}: {word}", hint="a link with another name will do")
        for name, word in words.items()
        if not _is_utf8(word)
    ]
    if problems:
        raise UserError(*problems)


def _is_utf8(word: str) -> bool:
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _words(options: argparse.Namespace) -> list[str]:
    """The command as it can be typed again, without what only concerned this time."""
    import shlex

    from platform.core.redaction import redact_word

    words = [options.space, *options.overrides] + (["--smoke"] if options.smoke else [])
    if options.results != Path("results"):
        words += ["--results", str(options.results)]
    return [shlex.quote(redact_word(word)) for word in words]


if __name__ == "__main__":
    from platform.runner.guards import command_line

    command_line.hide_tracebacks()
    code = main(command_line.take())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # Ray's and MLflow's threads are done with; their exit handlers take seconds
