"""The headline numbers of a sweep for MLflow's pages: those of the leaderboard, by study."""

from __future__ import annotations

from collections.abc import Sequence

from platform.core.headlines import Headlines
from platform.core.redaction import redact_command
from platform.core.row import Row, SweepInfo
from platform.report.judge.compared_method import paired_scores
from platform.report.judge.comparison import of_sweep
from platform.report.judge.judgement import Judgement, judge
from platform.report.judge.score_tables import TextTable, paper_leaderboard, to_markdown
from platform.report.judge.verdict import verdict
from platform.report.leaderboard import reference_of, retrain
from platform.report.standings import Standing, standings

__all__ = ["headlines"]


def headlines(info: SweepInfo, rows: Sequence[Row]) -> Headlines:
    """Judge the sweep as `compare` does and as its leaderboard shows it; also while it runs."""
    judged = judge(of_sweep(info, rows))
    ranked = standings(info, rows)
    reference = reference_of(info)
    numbers: dict[str, dict[str, float]] = {}
    for standing in ranked:
        for study, values in _means(standing).items():
            numbers[study] = values
    for rank, place in enumerate(judged.places, start=1):
        for index, seconds in place.method.searched.items():
            values = numbers.setdefault(f"{place.method.name}/{index}", {})
            values |= {"cost": seconds} | ({"rank": float(rank)} if place.mean is not None else {})
    for standing in ranked:
        for study, values in _differences(judged, standing.method, reference).items():
            numbers.setdefault(study, {}).update(values)
    metric = "test_accuracy" if "accuracy" in judged.comparison.metric.name.partition("(")[0] else "score"
    return Headlines(verdict(judged), _table(judged), _as_shown(numbers), reference, metric, _commands(info, ranked))


def _as_shown(numbers: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """With the leaderboard's digits: MLflow's tables cut a longer number off. Trials have them whole."""
    places = {"cost": 1, "rank": 0}
    return {
        study: {name: round(value, places.get(name, 4)) for name, value in values.items()}
        for study, values in numbers.items()
    }


def _table(judged: Judgement) -> str:
    """The leaderboard as Markdown, without the columns that a note has no room for."""
    full = paper_leaderboard(judged)
    keep = [place for place, name in enumerate(full.head) if name not in ("median", "interquartile mean")]
    rows = [[row[place] for place in keep] for row in full.rows]
    return to_markdown(TextTable(full.title, [full.head[p] for p in keep], [full.right[p] for p in keep], rows))


def _means(standing: Standing) -> dict[str, dict[str, float]]:
    """Score and test accuracy of each study: of its winner, or the means over its repeats."""
    found: dict[str, dict[str, float]] = {}
    for study in dict.fromkeys(row.study for row in standing.compared):
        mine = [row for row in standing.compared if row.study == study]
        for name in ("score", "test_accuracy"):
            known = [value for row in mine if (value := getattr(row, name)) is not None]
            if known:
                found.setdefault(study, {})[name] = sum(known) / len(known)
    return found


def _differences(judged: Judgement, name: str, reference: str) -> dict[str, dict[str, float]]:
    """The method minus the reference on each study that both have; the interval is that of the mean over studies."""
    methods = {place.method.name: place.method for place in judged.scored}
    if name not in methods or reference not in methods:
        return {}
    studies, mine, others = paired_scores(methods[name], methods[reference])
    found = {f"{name}/{study}": {"difference": x - y} for study, x, y in zip(studies, mine, others, strict=True)}
    pair = judged.between(name, reference)
    if pair is None or pair.estimate.low is None or pair.estimate.high is None:
        return found
    ends = (pair.estimate.low, pair.estimate.high)
    low, high = ends if pair.a == name else (-ends[1], -ends[0])
    return {study: values | {"difference_low": low, "difference_high": high} for study, values in found.items()}


def _commands(info: SweepInfo, ranked: Sequence[Standing]) -> dict[str, str]:
    made = {"run it again, or go on": redact_command(info.command)}
    made["judge it, beside other results too"] = f"python -m platform.compare {info.folder}"
    best = next((standing.winners for standing in ranked if standing.winners), None)
    if best:
        sign = 1 if info.maximise else -1
        row = max(best, key=lambda row: sign * (row.score or 0.0))
        made[f"train the winner of {row.study} again"] = retrain(info, row)
    return made
