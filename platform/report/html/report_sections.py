"""The sections of the report, in their order; each is left out where its data is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from platform.core.row import SweepInfo, has_score
from platform.report import figures, layer_figures, pareto
from platform.report.html.interval_marks import interval_axis, interval_marks
from platform.report.html.report_blocks import Fold, InlineDrawing, Listing, Paragraph, Part, ReportSection, SortedTable
from platform.report.html.report_material import ReportMaterial
from platform.report.html.report_trials import commands_section, trials_section
from platform.report.judge.budget_curves import assumption
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.comparison_facts import conditions
from platform.report.judge.comparison_figures import COLOURS
from platform.report.judge.hyper_importance import importances
from platform.report.judge.prediction_figures import (
    confused_words,
    draw_confusion,
    draw_reliability,
    predictions_of,
)
from platform.report.judge.rule_picks import draw_rule_picks, rule_picks, rule_picks_table
from platform.report.judge.score_tables import TextTable, leaderboard_table, pairs_table
from platform.report.judge.verdict import verdict
from platform.report.judge.winner_figures import draw_calibration, draw_label_split, draw_winner_curves
from platform.report.parallel_coordinates import draw_parallel_coordinates

__all__ = ["report_sections"]

MOST_METHODS = 8
"""Methods with figures of their own, the best ones: more would be a page that nobody reads, and take long to draw."""
FEW_PAIRS = 15
"""Pairs whose table is shown without a click."""
HEADLINE = ("method", "from", "studies", "repeats", "seeds", "score of winners", "defaults won", "seconds searched")


def report_sections(material: ReportMaterial) -> list[ReportSection]:
    """All sections: those without parts have a line that says what is missing, or nothing."""
    makers: Sequence[Callable[[ReportMaterial], ReportSection]] = (
        found_section,
        leaderboard_section,
        differences_section,
        curves_section,
        budget_section,
        hyper_section,
        parallel_section,
        rules_section,
        layers_section,
        predictions_section,
        trials_section,
        commands_section,
    )
    return [make(material) for make in makers]


def found_section(material: ReportMaterial) -> ReportSection:
    lines = verdict(material.judged)
    return ReportSection("found", "What was found", [Listing(lines)])


def leaderboard_section(material: ReportMaterial) -> ReportSection:
    judged = material.judged
    full = leaderboard_table(judged)
    colours = [material.colour(place.method.name) for place in judged.places]
    metric = judged.comparison.metric.name
    keep = [place for place, head in enumerate(full.head) if head in (*HEADLINE, metric)]
    short = TextTable(
        full.title,
        [full.head[place] for place in keep],
        [full.right[place] for place in keep],
        [[row[place] for place in keep] for row in full.rows],
        full.caption,
    )
    marks = interval_marks(judged, colours) if judged.scored else []
    place = short.head.index(metric)
    headline = SortedTable(short, marks, place, colours, axis=interval_axis(judged), name="leaderboard")
    more = Fold("Medians, interquartile means, outcomes", [SortedTable(replace(full, caption=""), name="all-columns")])
    facts = Fold("Under which conditions", [Listing(conditions(judged.comparison))], is_open=True)
    return ReportSection("leaderboard", "Leaderboard", [headline, more, facts])


def differences_section(material: ReportMaterial) -> ReportSection:
    judged = material.judged
    if not judged.differences:
        return ReportSection("differences", "Differences", missing="No two methods have a score on the same block.")
    parts: list[Part] = [*material.of_comparison("differences"), *material.of_comparison("critical_difference")]
    if isinstance(judged.ranks, str):
        parts.append(Paragraph(judged.ranks))
    parts += material.of_comparison("profiles")
    table = SortedTable(pairs_table(judged), name="pairs")
    few = len(judged.differences) <= FEW_PAIRS
    parts.append(table if few else Fold(f"All {len(judged.differences)} pairs", [table]))
    return ReportSection("differences", "Differences", parts)


def curves_section(material: ReportMaterial) -> ReportSection:
    words = "Each study's winner over training: mean over studies; bands from the lowest to the highest of them."
    parts: list[Part] = [*material.drawing(draw_winner_curves(material.judged), "winner-curves", words)]
    parts += _folds(material, "Learning curves of all trials", _learning_curves)
    return ReportSection("curves", "Learning curves", parts, "No trial has reported an evaluation: no learning curves.")


def _learning_curves(material: ReportMaterial, method: ComparedMethod, info: SweepInfo) -> list[InlineDrawing]:
    if not any(len(row.reports) > 1 and "score" in row.reports[-1] for row in method.rows):
        return []
    drawn = figures.learning_curves(info, method.method, method.rows)
    words = f"Every trial of {method.name} over training; bold: the winner of each study."
    return material.drawing(drawn, f"curves-{method.name}", words)


def budget_section(material: ReportMaterial) -> ReportSection:
    parts: list[Part] = [*material.of_comparison("best_against_budget")]
    if parts:
        methods = [place.method for place in material.judged.scored if place.method.info is not None]
        parts += [Paragraph(words) for words in dict.fromkeys(assumption(method) for method in methods)]
    parts += material.of_comparison("score_against_cost")
    for origin, info in material.sweeps:
        if pareto.asked_for(info) and any(pareto.fronts(info, origin.rows).values()):
            words = (
                "Every completed trial by its score and seconds, and the front of each study that none beats in both."
            )
            parts += material.drawing(
                pareto.figure(info, origin.rows, figures.STUDIES), f"pareto-{origin.label}", words
            )
    return ReportSection("budget", "Score against budget", parts, "No stored trial completed: no score against budget.")


def hyper_section(material: ReportMaterial) -> ReportSection:
    parts: list[Part] = [*material.of_comparison("importance")]
    found = [importances(place.method) for place in material.judged.scored if place.method.info is not None]
    if reasons := [words for words in found if isinstance(words, str)]:
        parts.append(Fold("Methods without importances", [Listing(reasons)]) if parts else Listing(reasons))
    parts += _folds(material, "Score against each hyper-parameter", _score_by_hyperparameter)
    return ReportSection("hyper", "Hyper-parameters", parts, "No trial has searched values and a score.")


def _score_by_hyperparameter(material: ReportMaterial, method: ComparedMethod, info: SweepInfo) -> list[InlineDrawing]:
    if not any(row.score is not None for row in method.rows) or not any(row.params for row in method.rows):
        return []
    drawn = figures.score_by_hyperparameter(info, method.method, method.rows)
    words = f"Score of every trial of {method.name} against each searched value; ring: the best one."
    return material.drawing(drawn, f"hyper-{method.name}", words)


def parallel_section(material: ReportMaterial) -> ReportSection:
    parts = _folds(material, "Parallel coordinates", _parallel)
    return ReportSection("parallel", "Parallel coordinates", parts)


def _parallel(material: ReportMaterial, method: ComparedMethod, info: SweepInfo) -> list[InlineDrawing]:
    drawn = draw_parallel_coordinates(info, method.method, method.rows)
    words = f"Every completed trial of {method.name} as a line through its searched values to its score on the right."
    return material.drawing(drawn, f"parallel-{method.name}", words)


def rules_section(material: ReportMaterial) -> ReportSection:
    missing = (
        "What other selection rules would have picked: said from two completed trials with known test accuracy on."
    )
    picks = rule_picks(material.judged)
    if not picks:
        return ReportSection("rules", "Selection rules", missing=missing)
    words = "The trials that each selection rule would have picked, on the test images; mean over studies."
    parts: list[Part] = [*material.drawing(draw_rule_picks(picks), "rule-picks", words)]
    parts.append(SortedTable(rule_picks_table(picks), name="rules"))
    return ReportSection("rules", "What each selection rule would have picked", parts, short="Selection rules")


def layers_section(material: ReportMaterial) -> ReportSection:
    parts: list[Part] = []
    words = "Diagnostics by stage of the network at the end of each study's winner; bands over studies."
    for origin, info in material.sweeps:
        if layer_figures.stages_known(info, origin.rows):
            parts += material.drawing(layer_figures.layers(info, origin.rows, COLOURS), f"layers-{origin.label}", words)
    missing = (
        "Layer by layer: nothing was recorded; train: {diagnostics: full} looks at gradients and features by layer."
    )
    return ReportSection("layers", "Layer by layer", parts, missing)


def predictions_section(material: ReportMaterial) -> ReportSection:
    judged = material.judged
    words = "Calibration of the winners on validation images against true labels; right: how sure they are at the end."
    parts: list[Part] = [*material.drawing(draw_calibration(judged), "calibration", words)]
    words = "How the winners' pseudo-labels, or their trust in given labels, split right from wrong over training."
    parts += material.drawing(draw_label_split(judged), "label-split", words)
    words = "Test images: how often the winners are right when they are how sure; above the diagonal: under-confident."
    parts += material.drawing(draw_reliability(judged), "reliability", words)
    parts += _folds(material, "Confusion matrix", _confusion)
    parts += _folds(material, "Trust in right and wrong labels", _trust)
    missing = "Calibration, and right labels against wrong: true labels are not known, or no trial recorded it."
    return ReportSection(
        "predictions", "Calibration, confusion, right labels against wrong", parts, missing, "Calibration"
    )


def _confusion(material: ReportMaterial, method: ComparedMethod, info: SweepInfo) -> list[InlineDrawing]:
    found = predictions_of(method)
    if found is None:
        return []
    words = f"Test images of {method.name}'s winners, label by guess; colour: share of the label's images. "
    if "doubtful" in material.judged.comparison.metric.name:
        words += "Labels as given, which may be wrong. "
    return material.drawing(draw_confusion(found), f"confusion-{method.name}", words + confused_words(found))


def _trust(material: ReportMaterial, method: ComparedMethod, info: SweepInfo) -> list[InlineDrawing]:
    if not layer_figures.has_trust(method.rows):
        return []
    drawn = layer_figures.label_trust(info, method.method, method.rows, figures.STUDIES)
    words = f"Trust of {method.name} in truly right and truly wrong labels, and how well it tells them apart."
    return material.drawing(drawn, f"trust-{method.name}", words)


_Maker = Callable[[ReportMaterial, ComparedMethod, SweepInfo], list[InlineDrawing]]


def _folds(material: ReportMaterial, title: str, make: _Maker) -> list[Part]:
    """A figure per method: to be opened by a click where there are several, the first one open."""
    found: list[tuple[str, list[InlineDrawing]]] = []
    left = 0
    for method, info in material.methods:
        if len(found) == MOST_METHODS:
            left += 1
        elif drawn := make(material, method, info):
            found.append((_summary(title, method), drawn))
    if len(found) == 1:
        return [*found[0][1]]
    parts: list[Part] = [Fold(summary, drawn, place == 0) for place, (summary, drawn) in enumerate(found)]
    if left:
        parts.append(Paragraph(f"{title}: the {MOST_METHODS} best methods; left out here: {left}."))
    return parts


def _summary(title: str, method: ComparedMethod) -> str:
    done = sum(has_score(row) for row in method.rows)
    return f"{title}: {method.name} ({len(method.rows)} trials, {done} completed)"
