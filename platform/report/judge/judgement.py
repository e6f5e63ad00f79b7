"""The judgement of a comparison: each method's mean with its interval, each pair's difference, ranks where allowed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from platform.report.judge.compared_method import ComparedMethod, paired_scores
from platform.report.judge.comparison import Comparison
from platform.report.judge.differences import Difference, difference, holm
from platform.report.judge.estimate import Estimate, interquartile_mean, mean_estimate, median_estimate
from platform.report.judge.rank_tests import RankTest, rank_test

STRATUM = 5
"""Blocks that every task of a comparison must have, for blocks to be drawn within tasks."""


@dataclass(frozen=True)
class Place:
    """A line of the leaderboard. leading: the best mean, or not significantly worse than it (Holm over all pairs)."""

    method: ComparedMethod
    mean: Estimate | None
    median: Estimate | None
    quartiles: Estimate | None  # the interquartile mean
    leading: bool = False


@dataclass(frozen=True)
class Judgement:
    """places: best mean first, methods without a score last. differences: of all pairs, the better one first."""

    comparison: Comparison
    places: list[Place]
    differences: list[Difference]
    ranks: RankTest | str

    @property
    def scored(self) -> list[Place]:
        """Places of methods that have a score, best mean first."""
        return [place for place in self.places if place.mean is not None]

    @property
    def test_name(self) -> str:
        """The name of stored trials' test accuracy: against doubtful labels it is not called test accuracy alone."""
        name = self.comparison.metric.name
        infos = [origin.info for origin in self.comparison.origins if origin.info is not None]
        return name if "doubtful" in name or not infos else infos[0].test_accuracy_name

    def between(self, a: str, b: str) -> Difference | None:
        """The difference of two methods by name, in either order; None where they have no block in common."""
        return next((d for d in self.differences if {d.a, d.b} == {a, b}), None)


def judge(comparison: Comparison) -> Judgement:
    """Methods are ranked by their mean over blocks; pairs are compared on the blocks that both have."""
    places = [_place(comparison, method) for method in comparison.methods]
    sign = -1 if comparison.metric.maximise else 1
    places.sort(key=lambda place: (place.mean is None, sign * place.mean.value if place.mean else 0.0))
    scored = [place.method for place in places if place.mean is not None]
    pairs = [_difference(comparison, a, b) for a, b in itertools.combinations(scored, 2)]
    found = adjusted([pair for pair in pairs if pair is not None])
    judged = Judgement(comparison, places, found, _ranks(comparison, scored))
    return replace(judged, places=[replace(place, leading=_leads(judged, place)) for place in places])


def adjusted(pairs: Sequence[Difference]) -> list[Difference]:
    """The pairs with their p values adjusted by Holm, for t tests and signed-rank tests each."""
    t, ranks = holm([pair.p for pair in pairs]), holm([pair.wilcoxon for pair in pairs])
    return [replace(pair, holm=one, holm_wilcoxon=other) for pair, one, other in zip(pairs, t, ranks, strict=True)]


def _leads(judged: Judgement, place: Place) -> bool:
    scored = judged.scored
    if place.mean is None:
        return False
    best = scored[0].method.name
    pair = judged.between(best, place.method.name)
    if pair is None:
        return place.method.name == best
    return not pair.sure or pair.better(judged.comparison.metric.maximise) != best


def _place(comparison: Comparison, method: ComparedMethod) -> Place:
    blocks = method.blocks(comparison.by_study)
    values, groups = list(blocks.values()), strata(list(blocks))
    accuracy = comparison.metric.accuracy
    return Place(
        method,
        mean_estimate(values, accuracy, groups),
        median_estimate(values),
        interquartile_mean(values, accuracy, groups),
    )


def _difference(comparison: Comparison, a: ComparedMethod, b: ComparedMethod) -> Difference | None:
    names, x, y = paired_scores(a, b, comparison.by_study)
    metric = comparison.metric
    return difference(a.name, b.name, x, y, metric.accuracy, strata(names), metric.maximise)


def strata(blocks: Sequence[str]) -> list[str] | None:
    """The task of each block, where studies are called TASK/INDEX and every one of several tasks has five or more."""
    tasks = [block.rpartition("/")[0] for block in blocks]
    counts = [tasks.count(task) for task in dict.fromkeys(tasks)]
    return tasks if len(counts) > 1 and min(counts) >= STRATUM else None


def _ranks(comparison: Comparison, scored: Sequence[ComparedMethod]) -> RankTest | str:
    """On the blocks that every method has."""
    tables = [method.blocks(comparison.by_study) for method in scored]
    paired = [paired_scores(scored[0], other, comparison.by_study)[0] for other in scored[1:]]
    shared = [block for block in (tables[0] if tables else {}) if all(block in names for names in paired)]
    scores = {method.name: [table[block] for block in shared] for method, table in zip(scored, tables, strict=True)}
    return rank_test(scores, comparison.metric.maximise)
