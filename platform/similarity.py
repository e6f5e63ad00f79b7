"""Compares the representations that a sweep's winners found: linear CKA, stage by stage, on fixed test images.

Of each winner the model is looked at that was evaluated (an average of weights, say); where that is an ensemble of
several networks, the first of them.

python -m platform.similarity results/A
python -m platform.similarity results/A results/B
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.invocation import program
from platform.core.plugins import BrokenPlugin, UnknownPlugin
from platform.core.row import Row

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

IMAGES = 512
"""Test images that are looked at, at most: the same ones for all winners."""


@dataclass(frozen=True)
class Winner:
    """The winner of one study. `name` is the study, with its sweep's name in front where there are two sweeps."""

    name: str
    row: Row
    checkpoint: Path
    method: str  # as `METHODS.get` takes it: a name, or the path of a plug-in file


@dataclass(frozen=True)
class Likeness:
    """Linear CKA of two winners by stage; 1 = the same up to rotation and one scale, 0 = nothing in common."""

    one: str
    other: str
    cka: dict[str, float]


def main(argv: list[str] | None = None) -> int:
    """Exit code 0: compared. 2: there is nothing to compare, or it cannot be compared."""
    options = _parser().parse_args(argv)
    try:
        found, images = compare(options.sweeps)
    except UserError as error:
        print(error.render("nothing was compared"), file=sys.stderr)
        return 2
    _print(found, images)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("similarity"),
        description="Linear CKA per stage between the winners of a sweep, or of two sweeps on the same data.",
        epilog=f"example: {program('similarity')} results/benchmark",
    )
    parser.add_argument("sweeps", nargs="+", type=Path, metavar="results/NAME", help="folders of one or two sweeps")
    return parser


def compare(folders: Sequence[Path]) -> tuple[list[Likeness], int]:
    """All pairs of one sweep's winners, or each winner of one with each of the other; and the number of test images.

    Raises UserError, with every problem of its kind at once, where there is nothing to compare.
    """
    if len(folders) > 2:
        raise UserError(Problem(f"{len(folders)} sweeps; one or two can be compared", hint=_usage(*folders[:2])))
    groups = _collect(folders)
    _check_data([winner for group in groups for winner in group])
    if len(groups) == 1 and len(groups[0]) < 2:
        message = f"only one winner ({groups[0][0].name}): nothing to compare it with"
        hint = f"name a second sweep on the same data: {_usage(folders[0], Path('results/OTHER'))}"
        raise UserError(Problem(message, where=str(folders[0]), hint=hint))
    features, images = _features([winner for group in groups for winner in group])
    pairs = itertools.combinations(groups[0], 2) if len(groups) == 1 else itertools.product(*groups)
    return [_likeness(one, other, features) for one, other in pairs], images


def _likeness(one: Winner, other: Winner, features: dict[Path, dict[str, np.ndarray]]) -> Likeness:
    from platform.training.diagnostics.features import linear_cka

    a, b = features[one.checkpoint], features[other.checkpoint]
    return Likeness(one.name, other.name, {stage: linear_cka(a[stage], b[stage]) for stage in a})


def _usage(*folders: Path) -> str:
    return "python -m platform.similarity " + " ".join(map(str, folders))


# -- whom to compare ---------------------------------------------------------------------------------------------------


def _collect(folders: Sequence[Path]) -> list[list[Winner]]:
    groups, problems = [], []
    for folder in folders:
        try:
            groups.append(_winners(folder, prefix=f"{folder.resolve().name}:" if len(folders) > 1 else ""))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*dict.fromkeys(problems))
    return groups


def _winners(folder: Path, prefix: str) -> list[Winner]:
    """One per study that has one, in the order of the ledger. Raises UserError where one cannot be brought back."""
    import platform.training.selection as selection
    from platform.core.ledger import read_rows
    from platform.core.row import winner

    if not (folder / "ledger.jsonl").is_file():
        raise _no_sweep(folder)
    resolved, rows = read_rows(folder / "ledger.jsonl")
    try:
        maximise = selection.get(resolved["select"]).maximise
    except (UnknownPlugin, BrokenPlugin) as error:
        hint = "it has to be where it was when the sweep ran: python -m platform.catalog lists all"
        problem = Problem(f"the selection rule '{resolved['select']}' is not there: {error}", str(folder), hint=hint)
        raise UserError(problem) from error
    studies = dict.fromkeys(row.study for row in rows.values())
    best = [winner([row for row in rows.values() if row.study == study], maximise) for study in studies]
    plugins = {Path(name).stem: name for name in resolved["methods"] if name.endswith(".py")}
    found = [
        Winner(prefix + row.study, row, folder / "checkpoints" / f"{row.key}.pt", plugins.get(row.method, row.method))
        for row in best
        if row is not None
    ]
    again = f"python -m platform.sweep {folder / 'sweep.yaml'} --results {folder.parent}"
    if not found:
        message = "no trial completed there, so no study has a winner"
        raise UserError(Problem(message, where=str(folder), hint=f"go on with the sweep: {again}"))
    gone = [w for w in found if not w.checkpoint.is_file()]
    if gone:
        message = "the state of {} (trial {}), the winner, is not kept there"
        hint = f"run the sweep anew (what is there is moved aside): {again} --fresh"
        raise UserError(*(Problem(message.format(w.name, w.row.key), str(w.checkpoint), "", hint) for w in gone))
    return found


def _no_sweep(folder: Path) -> UserError:
    beside = [path.parent.name for path in sorted(folder.parent.glob("*/ledger.jsonl"))]
    hint = "no sweep lies beside it; run one: python -m platform.sweep SPACE.yaml"
    if beside:
        hint = f"{did_you_mean(folder.name, beside)}\n{_usage(folder.parent / beside[0])}"
    message = "no sweep there (no ledger.jsonl)" if folder.is_dir() else "no such folder"
    return UserError(Problem(message, where=str(folder), hint=hint))


def _check_data(winners: list[Winner]) -> None:
    first = winners[0]
    for winner in winners[1:]:
        here, there = (w.row.spec.data_hash or w.row.spec.data.model_dump_json() for w in (first, winner))
        if here != there:
            message = f"other data than that of {first.name}: sha256 {there[:12]}, not {here[:12]}"
            hint = "representations can only be compared on the same images: compare each sweep with itself\n"
            raise UserError(Problem(message, where=winner.name, hint=hint + _usage(first.checkpoint.parents[1])))


# -- their representations ---------------------------------------------------------------------------------------------


def _features(winners: list[Winner]) -> tuple[dict[Path, dict[str, np.ndarray]], int]:
    """The features by checkpoint and stage, [N, channels]; and N."""
    found: dict[Path, dict[str, np.ndarray]] = {}
    first = winners[0]
    for winner in winners:
        if winner.checkpoint not in found:
            found[winner.checkpoint] = _look(winner)
        here, there = found[first.checkpoint], found[winner.checkpoint]
        if list(here) != list(there):
            models = f"{first.row.spec.model} has {', '.join(here)}; {winner.row.spec.model} has {', '.join(there)}"
            hint = "stages can only be compared between sweeps of one model: give both the same `model`"
            raise UserError(Problem(f"other stages than {first.name}: {models}", where=winner.name, hint=hint))
    return found, len(next(iter(found[first.checkpoint].values())))


def _look(winner: Winner) -> dict[str, np.ndarray]:
    """The model's features on the fixed images, [N, channels] by stage."""
    import numpy as np
    import torch

    from platform.core.spec import derive_seed
    from platform.training.diagnostics.probe import stage_features
    from platform.training.restored import restore

    trial = restore(winner.row.spec, winner.checkpoint, winner.method, winner.name)
    count = len(trial.dataset.test)
    chosen = np.sort(np.random.default_rng(derive_seed(0, "similarity")).permutation(count)[:IMAGES])
    places = torch.from_numpy(chosen).to(trial.device)
    probe = trial.batches.normalise(trial.images.test.index_select(0, places))
    return stage_features(_network(trial.method.eval_model), probe)


def _network(model: nn.Module) -> nn.Module:
    """The model itself, or the first network of an ensemble, which has no stages of its own."""
    return next((part for part in model.modules() if isinstance(getattr(part, "stages", None), tuple)), model)


# -- words -------------------------------------------------------------------------------------------------------------


def _print(found: list[Likeness], images: int) -> None:
    """A table on a terminal, lines with tabs elsewhere."""
    title = f"linear CKA on {images} test images: 1 = the same up to rotation and scale, 0 = nothing in common"
    stages = [name.removeprefix("body.") for name in found[0].cka]
    lines = [(pair.one, pair.other, *(f"{value:.4f}" for value in pair.cka.values())) for pair in found]
    if not sys.stdout.isatty():
        print(f"# {title}")
        for line in [("one", "other", *stages), *lines]:
            print("\t".join(line))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in ("one", "other"):
        table.add_column(name)
    for name in stages:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*line)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
