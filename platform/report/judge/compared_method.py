"""One method in a comparison: what it scored on which blocks, what that cost, and where it comes from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from platform.core.row import Row, SweepInfo, winner
from platform.report.judge.score_csv import ScoreLine
from platform.report.standings import repeats


class Block(NamedTuple):
    """The block a score belongs to: a study (its index, or a name in a CSV file) and the seed of the trial."""

    study: str
    seed: str


@dataclass
class ComparedMethod:
    """`name` is its only one in the comparison; `source` the folder or file, `outside`: a CSV file of other tools.

    scores: of winners, or of their repeats, by block. hashes: (data, labels) of each study, and of each block in
    `block_hashes`; none where it comes from outside. selection: the winners' scores by the selection rule, by study.
    searched: device-seconds of each study's search; trained: of the winners. counts: outcomes of the search's trials.
    """

    name: str
    method: str
    source: str
    outside: bool = False
    scores: dict[Block, float] = field(default_factory=dict)
    studies: list[str] = field(default_factory=list)
    hashes: dict[str, tuple[str, str]] = field(default_factory=dict)
    block_hashes: dict[Block, tuple[str, str]] = field(default_factory=dict)
    selection: dict[str, float] = field(default_factory=dict)
    searched: dict[str, float] = field(default_factory=dict)
    trained: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    defaults_won: int = 0
    rows: list[Row] = field(default_factory=list)  # of its search
    info: SweepInfo | None = None
    remark: str = ""  # why it has no score

    def blocks(self, by_study: bool) -> dict[str, float]:
        """Independent values: the mean of each study, or, of a single study, each seed's score."""
        if not by_study:
            return {block.seed: value for block, value in self.scores.items()}
        return study_means(self.scores)


def study_means(scores: dict[Block, float]) -> dict[str, float]:
    """Repeats of one study share its search, so they count as one: their mean."""
    groups: dict[str, list[float]] = {}
    for block, value in scores.items():
        groups.setdefault(block.study, []).append(value)
    return {study: sum(values) / len(values) for study, values in groups.items()}


def paired_scores(
    a: ComparedMethod, b: ComparedMethod, by_study: bool = True
) -> tuple[list[str], list[float], list[float]]:
    """Names of the blocks that both have, and the scores of both on them.

    The same seeds within the same studies, with the same labels; where a CSV file has other seeds, whole studies.
    """
    shared = [block for block in a.scores if block in b.scores and _same(a, b, block)]
    if not shared and by_study and (a.outside or b.outside):
        x, y = study_means(a.scores), study_means(b.scores)
        names = [study for study in x if study in y]
        return names, [x[name] for name in names], [y[name] for name in names]
    x = {block: a.scores[block] for block in shared}
    y = {block: b.scores[block] for block in shared}
    if not by_study:
        return [block.seed for block in shared], list(x.values()), list(y.values())
    means = study_means(x), study_means(y)
    return list(means[0]), list(means[0].values()), list(means[1].values())


def _same(a: ComparedMethod, b: ComparedMethod, block: Block) -> bool:
    return a.outside or b.outside or a.block_hashes.get(block) == b.block_hashes.get(block)


def from_sweep(info: SweepInfo, rows: Sequence[Row], source: str, on_repeats: bool, test: bool) -> list[ComparedMethod]:
    """The methods of a sweep. on_repeats: scores are of the winners' repeats. test: test accuracy, else the rule's."""
    return [_from_rows(info, method, rows, source, on_repeats, test) for method in info.methods]


def is_repeated(info: SweepInfo, rows: Sequence[Row]) -> bool:
    """Whether every winner of the sweep has an ended repeat, so that methods are compared on repeats."""
    winners = [won for study in info.studies if (won := _winner(info, rows, study))]
    return bool(winners) and all(_ended(rows, won) for won in winners)


def known_tests(info: SweepInfo, rows: Sequence[Row]) -> bool:
    """Whether any completed trial has a test accuracy."""
    return any(row.outcome == "completed" and _finite(row.test_accuracy) for row in rows)


def _winner(info: SweepInfo, rows: Sequence[Row], study: str) -> Row | None:
    return winner([row for row in rows if row.study == study], info.maximise)


def _ended(rows: Sequence[Row], won: Row) -> list[Row]:
    return [row for row in repeats(rows, won) if row.outcome not in (None, "preempted")]


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _from_rows(
    info: SweepInfo, method: str, rows: Sequence[Row], source: str, on_repeats: bool, test: bool
) -> ComparedMethod:
    mine = [row for row in rows if row.method == method]
    search = [row for row in mine if not row.repeat]
    names = [study for study in info.studies if study.rpartition("/")[0] == method]
    found = ComparedMethod(method, method, source, studies=[_index(name) for name in names], rows=search, info=info)
    found.counts = Counter(row.outcome or "running" for row in search)
    for name in names:
        found.searched[_index(name)] = sum(row.spent for row in search if row.study == name)
        won = _winner(info, rows, name)
        if won is None:
            continue
        found.selection[_index(name)] = won.score or 0.0
        found.defaults_won += won.number == 0
        found.hashes[_index(name)] = _hashes(won)
        found.trained.append(won.spent)
        for row in _ended(rows, won) if on_repeats else [won]:
            value = row.test_accuracy if test else row.score
            if row.outcome == "completed" and value is not None and _finite(value):
                block = Block(_index(name), str(row.seed))
                found.scores[block], found.block_hashes[block] = value, _hashes(row)
    if not found.scores:
        found.remark = _why_none(found, on_repeats)
    return found


def _why_none(found: ComparedMethod, on_repeats: bool) -> str:
    if found.selection:
        return "no repeat of its winners completed" if on_repeats else "its winners have no test accuracy"
    if not found.rows:
        return "no trial was run"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in found.counts.most_common())
    return f"no completed trial: {counts}"


def _index(study: str) -> str:
    return study.rpartition("/")[2]


def _hashes(row: Row) -> tuple[str, str]:
    return row.spec.data_hash, row.spec.labels_hash


def from_scores(lines: Sequence[ScoreLine], source: str) -> list[ComparedMethod]:
    """The methods of a CSV file, in its order."""
    found: dict[str, ComparedMethod] = {}
    for line in lines:
        method = found.setdefault(line.method, ComparedMethod(line.method, line.method, source, outside=True))
        if line.study not in method.studies:
            method.studies.append(line.study)
        if line.score is not None:
            method.scores[Block(line.study, line.seed)] = line.score
        if line.cost is not None:
            method.searched[line.study] = line.cost
    for method in found.values():
        method.remark = "" if method.scores else "no score in the file"
    return list(found.values())


def to_scores(methods: Sequence[ComparedMethod]) -> list[ScoreLine]:
    """One line per block; a method without any score has a line per study with an empty one."""
    lines: list[ScoreLine] = []
    for method in methods:
        blocks = list(method.scores) or [Block(study, "0") for study in method.studies]
        lines += [
            ScoreLine(method.name, *block, method.scores.get(block), method.searched.get(block.study))
            for block in blocks
        ]
    return lines
