"""kurabe from Python and as a command, in any folder, in Jupyter and under an IDE.

    import kurabe

    results = kurabe.load("results/benchmark")           # results.trials, results.curves, results.predictions
    judged = kurabe.compare("results/benchmark")         # kurabe.verdict(judged), kurabe.leaderboard(judged)
    kurabe.figures.learning_curves(results, "fixmatch")  # a matplotlib figure, like all of kurabe.figures
    for step in kurabe.trial("layermatch", steps=20).steps():
        print(step)

    kurabe sweep|compare|ui|check|catalog|similarity|doctor ...    # python -m platform.NAME, from any folder

The project's package is called `platform`, like a module of Python's own which is loaded before anybody could ask for
this one. Importing this file turns that module into the package, in place (CONTRIBUTING.md, "The name").
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from platform.api.results_tables import Results
    from platform.report.judge.judgement import Judgement
    from platform.training.trial import Trial

__all__ = [
    "ROOT",
    "UserError",
    "compare",
    "differences",
    "figures",
    "leaderboard",
    "load",
    "main",
    "trial",
    "verdict",
]

ROOT = Path(__file__).resolve().parent
"""The folder that holds `platform` and `methods`: the repository, or site-packages."""

STANDARD = Path(os.__file__).resolve().with_name("platform.py")
"""Python's own module."""


def _make_importable(name: str) -> None:
    """Make `import NAME` give the package of this folder. Raises ImportError where another one has been imported."""
    folder = ROOT / name
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None or not (folder / "__init__.py").is_file():
        raise ImportError(
            f"{__file__} needs the folder {folder}, which is not there: a copied kurabe.py cannot work alone.\n"
            "    install the project instead: pip install --editable /path/to/its/checkout"
        )
    there = sys.modules.get(name)
    if there is None:
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    elif not _lies_in(there, folder):
        if not _is_standard(there):
            raise ImportError(_foreign(name, there))
        _extend(there, spec, folder)


def _lies_in(module: ModuleType, folder: Path) -> bool:
    return any(Path(place).resolve() == folder for place in getattr(module, "__path__", ()))


def _is_standard(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return not hasattr(module, "__path__") and (file is None or Path(file).resolve() == STANDARD)


def _extend(module: ModuleType, spec: ModuleSpec, folder: Path) -> None:
    """Turn Python's own module, which others hold references to, into the package that it would have been."""
    vars(module).update(
        __path__=[str(folder)],
        __file__=spec.origin,
        __package__=spec.name,
        __spec__=spec,
        _STANDARD=str(STANDARD),
    )


def _foreign(name: str, module: ModuleType) -> str:
    """The message where `name` is somebody else's. What, where, what was expected, what to do."""
    file = getattr(module, "__file__", None) or ", ".join(map(str, getattr(module, "__path__", ["an unknown place"])))
    expected = f"{ROOT / name}"
    if name == "platform":
        expected += f", or Python's own {STANDARD}, which it extends"
    lines = [f"kurabe cannot be imported here: another `{name}` has been imported, {file}", f"expected: {expected}"]
    if (Path(file).parents[1] / "kurabe.py").is_file():
        lines.append("that is another copy of kurabe; one process can use one of them")
        lines.append(
            "start a new process (in Jupyter: restart the kernel) and import kurabe before anything of the other"
        )
    else:
        lines.append("import kurabe before it, in a new process (in Jupyter: restart the kernel), or rename that file")
    lines.append("to see which kurabe a fresh process finds: python -c 'import kurabe; print(kurabe.ROOT)'")
    return "\n    ".join(lines)


_make_importable("platform")
_make_importable("methods")

from platform.api import plots as figures  # noqa: E402
from platform.core.errors import UserError  # noqa: E402
from platform.core.invocation import called_by  # noqa: E402


@called_by("python")
def load(*folders: str | Path) -> Results:
    """The results of one or several sweeps as data frames: `trials`, `curves`, `predictions`.

    folders: results/NAME, from the current folder. Nothing is locked or changed; a sweep that runs or was interrupted
    gives the trials it has, with a warning. Raises UserError where a folder holds no sweep.
    """
    from platform.api.results_tables import read_results

    return read_results(folders)


@called_by("python")
def compare(*results: str | Path | Results, allow_unequal: bool = False) -> Judgement:
    """Judge which method is better, by how much, and how sure that is (platform/report/judge/).

    results: folders of sweeps, what `load` gave, CSV files of other tools (method,study,seed,score,cost).
    allow_unequal: compare different budgets or selection rules, too. Nothing is written; `verdict`, `leaderboard`,
    `differences` and `figures` show what was found. Raises UserError with all that stands against comparing them.
    """
    from platform.api.judged import judge_results

    return judge_results(results, allow_unequal)


@called_by("python")
def verdict(judged: Judgement) -> str:
    """What a comparison found, in sentences, one a line."""
    from platform.report.judge import verdict as words

    return "\n".join(words.verdict(judged))


@called_by("python")
def leaderboard(judged: Judgement) -> pd.DataFrame:
    """A row for each method, best mean first: mean, median, interquartile mean with 95 % intervals, trials, seconds."""
    from platform.api.judged import leaderboard_frame

    return leaderboard_frame(judged)


@called_by("python")
def differences(judged: Judgement) -> pd.DataFrame:
    """A row for each pair of methods: the paired difference with its 95 % interval, p values, Holm's correction."""
    from platform.api.judged import differences_frame

    return differences_frame(judged)


@called_by("python")
def trial(
    space: str | Path, *overrides: str, method: str | None = None, study: int = 0, device: str = "cpu", **settings: Any
) -> Trial:
    """One trial of a sweep, to be stepped through in this process: without Ray, MLflow or files.

        trial = kurabe.trial("layermatch", method="layermatch", threshold=0.9, lr=0.01)
        for step in trial.steps(): ...       # one training step each: number, learning rate, losses
        for report in trial.reports(): ...   # or up to the next evaluation each: all metrics

    space: a sweep file, the name of one that comes with the project, or results/NAME. overrides: "key=value" as on the
    command line. method: needed where the file has several. study: index of the seeds. settings: hyper-parameters of
    the method (threshold=0.9) and settings of training (lr=0.01, steps=50); else the defaults, as in trial 0 of a
    sweep. A breakpoint in the `loss` of the method stops at each step. Raises UserError.
    """
    from platform.api.single_trial import make_trial

    return make_trial(space, overrides, method, study, device, settings)


# -- the command -------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """The command `kurabe NAME ...`; returns its exit code. argv: the words after `kurabe`, else this process's.

    The sub-commands are the files of platform/, with the same options as `python -m platform.NAME`. Paths are from the
    current folder.
    """
    if "JPY_PARENT_PID" in os.environ:  # `!kurabe sweep` in a notebook: lines, not a screen that is drawn anew
        os.environ["TTY_COMPATIBLE"] = "0"
    words = list(argv) if argv is not None else _typed()
    with called_by("command"):
        if not words or words[0] in ("-h", "--help"):
            print(_usage())
            return 0 if words else 2
        if words[0] not in _commands():
            print(_no_command(words[0]).render(), file=sys.stderr)
            return 2
        code: int = importlib.import_module(f"platform.{words[0]}").main(words[1:])
    if argv is None and words[0] == "sweep":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # as `python -m platform.sweep` does: exit handlers of Ray and MLflow take seconds
    return code


def _typed() -> list[str]:
    """The words of this process's command line, from which secrets are removed (guards/command_line.py)."""
    from platform.runner.guards import command_line

    command_line.hide_tracebacks()
    return command_line.take()


def _commands() -> list[str]:
    return sorted(path.stem for path in (ROOT / "platform").glob("*.py") if not path.stem.startswith("_"))


def _usage() -> str:
    lines = ["usage: kurabe COMMAND ...", "", "commands (kurabe COMMAND --help says more):"]
    for name in _commands():
        text = (ROOT / "platform" / f"{name}.py").read_text(encoding="utf-8")
        lines.append(f"  {name:<12}{text.partition(chr(10))[0].strip(chr(34))}")
    lines += ["", "Paths are from the folder you are in, and so is ./results, where sweeps are kept."]
    lines += ["A sweep file that is not found there is looked for in the project: kurabe sweep layermatch"]
    return "\n".join(lines)


def _no_command(name: str) -> UserError:
    from platform.core.errors import Problem, did_you_mean

    hint = did_you_mean(name, _commands(), "kurabe --help")
    if name.endswith((".yaml", ".yml")):
        hint = f"a sweep file is run so: kurabe sweep {name}"
    return UserError(Problem(f"no such command: '{name}'", where="kurabe", hint=hint))


if __name__ == "__main__":
    sys.exit(main())
