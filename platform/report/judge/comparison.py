"""Results folders and CSV files brought together for a comparison, and the reasons against comparing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from platform.core.errors import Problem, UserError
from platform.core.files import free_name
from platform.core.row import Row, SweepInfo
from platform.report.judge import compared_method as methods_of
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.score_csv import read_scores
from platform.report.judge.sweep_folder import LabelCounts, label_counts, read_sweep


@dataclass(frozen=True)
class Metric:
    """The metric that methods are compared by. accuracy: it lies in [0, 1]. doubtful: against labels as given."""

    name: str
    maximise: bool
    accuracy: bool
    doubtful: bool = False


@dataclass(frozen=True)
class Origin:
    """A folder or a CSV file. info and rows are of the sweep; None and none for a file."""

    label: str
    path: Path
    info: SweepInfo | None = None
    rows: Sequence[Row] = ()
    labels: LabelCounts = LabelCounts(None, None, None)


@dataclass
class Comparison:
    """Methods by the same metric.

    by_study: a block is a study, else a seed. unequal: budgets or rules differ, and that was allowed. notes: what was
    left out, is missing or doubtful, in sentences.
    """

    methods: list[ComparedMethod]
    metric: Metric
    origins: list[Origin]
    by_study: bool
    on_repeats: bool
    unequal: bool = False
    notes: list[str] = field(default_factory=list)


def open_comparison(paths: Sequence[Path], allow_unequal: bool = False) -> Comparison:
    """Results folders and CSV files (platform/report/judge/score_csv.py) as one comparison.

    Raises UserError with all that is wrong, also where budgets differ and `allow_unequal` was not said.
    """
    origins: list[Origin] = []
    problems: list[Problem] = []
    outside: dict[str, list[ComparedMethod]] = {}
    for path, label in zip(paths, _labels(paths), strict=True):
        try:
            if path.suffix.lower() == ".csv":
                outside[label] = methods_of.from_scores(read_scores(path), label)
                origins.append(Origin(label, path))
            else:
                info, rows = read_sweep(path)
                origins.append(Origin(label, path, info, rows, label_counts(info)))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(*dict.fromkeys(problems))
    return _merge(origins, outside, allow_unequal)


def of_sweep(info: SweepInfo, rows: Sequence[Row]) -> Comparison:
    """The methods of one sweep, as a listener knows it."""
    return _merge([Origin(info.name, Path(info.folder), info, rows, label_counts(info))], {}, True)


def _labels(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, with its parent where that is not enough, with a number where that is not."""
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.resolve().parent.name}/{path.resolve().name}" for path in paths]
    counts = Counter(names)
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        if counts[name] > 1:
            seen[name] += 1
            names[place] = f"{name} #{seen[name]}"
    return names


def _merge(origins: list[Origin], outside: dict[str, list[ComparedMethod]], allow_unequal: bool) -> Comparison:
    sweeps = [(origin, origin.info) for origin in origins if origin.info is not None]
    unequal = _check_budgets(sweeps, allow_unequal)
    repeated = [methods_of.is_repeated(info, origin.rows) for origin, info in sweeps]
    on_repeats = bool(repeated) and all(repeated)
    tests = [methods_of.known_tests(info, origin.rows) for origin, info in sweeps]
    notes = []
    if any(repeated) and not on_repeats:
        without = ", ".join(o.label for (o, _), again in zip(sweeps, repeated, strict=True) if not again)
        notes.append(f"Compared on winners, not on their repeats: {without} has not repeated every winner.")
    found: list[ComparedMethod] = []
    for origin in origins:
        if origin.info is None:
            found += outside[origin.label]
        else:
            found += methods_of.from_sweep(origin.info, origin.rows, origin.label, on_repeats, any(tests) or not tests)
    _name_apart(found)
    notes += _leave_out_other_labels(found)
    _check_scales([info for _, info in sweeps], found, any(tests))
    metric = _metric(origins, found, any(tests))
    several = len({block.study for method in found for block in method.scores}) > 1
    notes += _missing(found)
    return Comparison(found, metric, origins, several, on_repeats, unequal, notes)


def budget_words(info: SweepInfo) -> str:
    """The budget of every study of a sweep: 16 trials of at most 600 steps."""
    return f"{info.budget or 'no limit'} of at most {info.steps:,} steps"


def _check_budgets(sweeps: Sequence[tuple[Origin, SweepInfo]], allow_unequal: bool) -> bool:
    """Whether they differ. Raises UserError where that was not allowed."""
    budgets = {(info.trials_per_study, info.seconds_per_study, info.steps) for _, info in sweeps}
    rules = {info.select for _, info in sweeps}
    if len(budgets) < 2 and len(rules) < 2:
        return False
    if not allow_unequal:
        lines = [f"{origin.label}: {budget_words(info)}, winners by {info.select}" for origin, info in sweeps]
        what = "tuning budgets differ" if len(budgets) > 1 else "selection rules differ"
        hint = "\n".join([*lines, "compare them all the same, marked in every table: --allow-unequal"])
        raise UserError(Problem(f"{what}, so better may only mean tuned for longer or otherwise", hint=hint))
    return True


def _check_scales(infos: Sequence[SweepInfo], found: Sequence[ComparedMethod], tests: bool) -> None:
    """Raises UserError where scores are of different kinds, so that no budget would make them comparable."""
    rules = sorted({info.select for info in infos})
    if infos and not tests and len(rules) > 1:
        message = f"no test accuracy is known, and scores of different rules cannot be compared: {', '.join(rules)}"
        raise UserError(Problem(message))
    outside = {m.source: v for m in found if m.outside for v in m.scores.values() if not 0 <= v <= 1}
    if infos and tests and outside:
        raise UserError(
            *(
                Problem(f"a score of {value:g} beside test accuracies in [0, 1]", where=source, hint="percent? / 100")
                for source, value in outside.items()
            )
        )


def _name_apart(found: list[ComparedMethod]) -> None:
    """A method that stands in several folders or files is named by them."""
    counts = Counter(method.method for method in found)
    for method in found:
        if counts[method.method] > 1:
            method.name = f"{method.method} ({method.source})"
    for place, method in enumerate(found):  # a method may be called as another one with its folder
        taken = {other.name for other in found[:place]}
        if method.name in taken:
            name = method.name
            method.name = free_name(lambda number, name=name: f"{name} #{number + 1}", taken.__contains__)


def _leave_out_other_labels(found: list[ComparedMethod]) -> list[str]:
    """Take away the scores of studies whose data or labels are not those that the first sweep has under that index, and
    all scores of a sweep that shares no study with it."""
    first: dict[str, tuple[tuple[str, str], str]] = {}
    for method in found:
        for study, hashes in method.hashes.items():
            first.setdefault(study, (hashes, method.source))
    left_out: dict[tuple[str, str], list[str]] = {}
    for method in found:
        for study, hashes in method.hashes.items():
            expected, source = first[study]
            if hashes != expected:
                what = "data" if hashes[0] != expected[0] else "labels"
                words = f"other {what} than {'the other methods' if source == method.source else source}"
                studies = left_out.setdefault((method.source, words), [])
                studies += [study] if study not in studies else []
                _drop(method, study, f"not compared: {words}")
    notes = [
        f"Not compared: {source} has {words} in stud{'ies' if len(studies) > 1 else 'y'} {', '.join(studies)} (their "
        "hashes differ)."
        for (source, words), studies in left_out.items()
    ]
    return notes + _leave_out_strangers(found)


def _leave_out_strangers(found: list[ComparedMethod]) -> list[str]:
    sweeps = list(dict.fromkeys(method.source for method in found if not method.outside))
    shared = {name: {b.study for m in found if m.source == name for b in m.scores} for name in sweeps}
    notes = []
    for name in sweeps[1:]:
        if shared[name] and not shared[name] & shared[sweeps[0]]:
            notes.append(f"Not compared: {name} has no study with the data and labels of one in {sweeps[0]}.")
            for method in found:
                if method.source == name:
                    for study in shared[name]:
                        _drop(method, study, f"not compared: no study in common with {sweeps[0]}")
    return notes


def _drop(method: ComparedMethod, study: str, remark: str) -> None:
    method.scores = {block: value for block, value in method.scores.items() if block.study != study}
    if not method.scores:
        method.remark = method.remark or remark


def _metric(origins: Sequence[Origin], found: Sequence[ComparedMethod], tests: bool) -> Metric:
    infos = [origin.info for origin in origins if origin.info is not None]
    bounded = all(0 <= value <= 1 for method in found for value in method.scores.values())
    if not infos:
        return Metric("score", True, bounded)
    if tests:
        doubtful = any(_is_doubtful(origin) for origin in origins)
        name = replace(infos[0], test_labels="as given" if doubtful else "true").test_accuracy_name
        return Metric(name, True, bounded, doubtful)
    return Metric(f"selection score ({infos[0].select})", infos[0].maximise, "accuracy" in infos[0].select and bounded)


def _is_doubtful(origin: Origin) -> bool:
    """Whether test images are judged by labels as given. A folder that does not say so may have a label plan."""
    info = origin.info
    if info is None:
        return False
    unsaid = "test_labels" not in info.provenance
    return info.test_labels != "true" or (unsaid and origin.labels.truth is False)


def _missing(found: Sequence[ComparedMethod]) -> list[str]:
    """A note for each gap, which names all methods that have it."""
    gaps: dict[str, list[str]] = {}
    for method in found:
        if not method.outside and method.info is not None:
            for gap in _gaps_of(method, method.info):
                gaps.setdefault(gap, []).append(method.name)
    return [f"{_some(who)}: {gap}" for gap, who in gaps.items()]


def _gaps_of(method: ComparedMethod, info: SweepInfo) -> list[str]:
    gaps = []
    open_rows = method.counts["running"] + method.counts["preempted"]
    granted = info.trials_per_study
    short = [
        study
        for study in method.studies
        if granted and sum(row.study.rpartition("/")[2] == study for row in method.rows) < granted
    ]
    if open_rows:
        words = "1 trial is unfinished: it runs" if open_rows == 1 else f"{open_rows} trials are unfinished: they run"
        gaps.append(f"{words}, or the sweep was interrupted.")
    elif short and method.rows:
        trials = f"{granted} trial{'s' * (granted != 1)}"
        gaps.append(
            f"fewer than the {trials} granted in {_studies(short)}: the search is unfinished, or its space has no more "
            "points."
        )
    without = [study for study in method.studies if study not in method.selection]
    if without and method.selection:
        gaps.append(f"no completed trial in {_studies(without)}: not in its mean.")
    return gaps


def _studies(names: Sequence[str]) -> str:
    return f"{'study' if len(names) == 1 else 'studies'} {', '.join(names)}"


def _some(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more methods" if len(names) > most else ""
    return ", ".join(names[:most]) + more
