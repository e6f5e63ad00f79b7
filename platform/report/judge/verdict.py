"""The findings of a comparison, in sentences, with how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

from platform.report.judge.differences import Difference
from platform.report.judge.estimate import FEWEST
from platform.report.judge.judgement import Judgement, Place

NAMED = 6
"""Methods that are named one by one in a sentence; of more, only how many."""


def verdict(judged: Judgement) -> list[str]:
    """Sentences as plain text, the most important first; for the terminal, the last screen and the report.

    A difference is called sure where Holm's p over all pairs is 0.05 or less. What cannot be said is said, too.
    """
    scored = judged.scored
    if not scored:
        return ["No method has a result, so nothing was found.", *_without(judged), *judged.comparison.notes]
    if len(scored) == 1:
        only = scored[0]
        found = [f"{only.method.name} reaches {_mean(judged, only)}; there is nothing to compare it with."]
    else:
        found = _leader(judged) + _others(judged)
    found += _limits(judged) + _without(judged)
    found += _defaults(judged) + _meaning(judged)
    return found + judged.comparison.notes


def blocks(judged: Judgement, n: int) -> str:
    """5 studies; 3 repeats of one study."""
    if judged.comparison.by_study:
        return f"{n} stud{'ies' if n != 1 else 'y'}"
    seeds = "repeats" if judged.comparison.on_repeats else "seeds"
    return "1 study" if n == 1 else f"{n} {seeds} of one study"


def names(words: Sequence[str]) -> str:
    """a, b and c."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def difference_text(judged: Judgement, pair: Difference) -> str:
    """0.071 [0.058, 0.084] (5 studies, Holm p = 0.003); of the size only, without its sign."""
    found = pair.estimate
    ends = [] if found.low is None or found.high is None else [found.low, found.high]
    sign = -1 if found.value < 0 else 1
    ends = sorted(sign * end for end in ends)
    shown = f"{abs(found.value):.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")
    p = f", Holm p {_p(pair.holm)}" if pair.holm is not None else ""
    return f"{shown} ({blocks(judged, found.n)}{p})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}" if value < 0.1 else f"= {value:.2f}"


def _mean(judged: Judgement, place: Place) -> str:
    assert place.mean is not None
    return f"{judged.comparison.metric.name} {place.mean.text(3)} ({blocks(judged, place.mean.n)})"


def _leader(judged: Judgement) -> list[str]:
    """Whom the best method beats for sure, and whom not."""
    best = judged.scored[0].method.name
    pairs = [(other.method.name, judged.between(best, other.method.name)) for other in judged.scored[1:]]
    maximise = judged.comparison.metric.maximise
    sure = [(name, pair) for name, pair in pairs if pair is not None and pair.sure]
    beaten = [(name, pair) for name, pair in sure if pair.better(maximise) == best]
    open_ = [name for name, pair in pairs if pair is not None and not pair.sure]
    apart = [name for name, pair in pairs if pair is None]
    found = []
    if beaten:
        shown = [f"{name} by {difference_text(judged, pair)}" for name, pair in beaten[:NAMED]]
        more = f", and {len(beaten) - NAMED} more" if len(beaten) > NAMED else ""
        found.append(f"{best} beats {names(shown)}{more}.")
    for name, pair in sure:
        if pair.better(maximise) == name:  # its mean is lower only because of blocks that the best one lacks
            found.append(f"On the blocks that both have, {name} beats {best} by {difference_text(judged, pair)}.")
    if open_:
        found.append(_no_difference(judged, best, open_))
    if apart:
        found.append(f"{best} and {_few(apart)} have no block in common, so they are not compared.")
    return found


def _no_difference(judged: Judgement, best: str, others: Sequence[str]) -> str:
    if len(others) == len(judged.scored) - 1:
        head = f"No sure difference: {best} has the best mean ({_mean(judged, judged.scored[0])}), but "
        return head + f"{_few(others)} may be as good" + _nearest(judged, best, others) + "."
    return f"Between {best} and {_few(others)} no sure difference" + _nearest(judged, best, others) + "."


def _few(others: Sequence[str]) -> str:
    return names(others) if len(others) <= NAMED else f"{len(others)} others"


def _nearest(judged: Judgement, best: str, others: Sequence[str]) -> str:
    """The difference, where it is one pair."""
    pair = judged.between(best, others[0])
    if len(others) > 1 or pair is None:
        return ""
    return f"; the difference is {difference_text(judged, pair)}"


def _others(judged: Judgement) -> list[str]:
    """Sure differences below the best method."""
    best = judged.scored[0].method.name
    rest = [pair for pair in judged.differences if pair.sure and best not in (pair.a, pair.b)]
    winners: dict[str, list[str]] = {}
    maximise = judged.comparison.metric.maximise
    for pair in rest:
        better = pair.better(maximise)
        winners.setdefault(better, []).append(pair.b if better == pair.a else pair.a)
    found = [f"{better} beats {_few(worse)}." for better, worse in list(winners.items())[:NAMED]]
    tested = sum(pair.holm is not None for pair in judged.differences)
    if tested > 3:
        sure = sum(pair.sure for pair in judged.differences)
        found.append(f"In all, {sure} of {tested} pairs differ for sure.")
    return found


def _limits(judged: Judgement) -> list[str]:
    """The conclusions that so few blocks do not allow."""
    most = max(place.mean.n for place in judged.scored if place.mean is not None)
    if most >= FEWEST and not judged.comparison.by_study and judged.comparison.on_repeats:
        return [
            "All repeats are of one study: they say how the configurations that were found vary, not what another "
            "search would have found."
        ]
    if most >= FEWEST:
        return []
    have = "One study on one seed" if most == 1 else f"Only {blocks(judged, most)}"
    return [
        f"{have}: how much of a difference is chance cannot be said; no interval and no test. "
        f"{FEWEST} studies are the least (budget.studies={FEWEST}), 5 or more are better."
    ]


def _without(judged: Judgement) -> list[str]:
    """Methods without a result, by reason. What was left out for its labels stands in the notes."""
    reasons: dict[str, list[str]] = {}
    for place in judged.places:
        if place.mean is None and not place.method.remark.startswith("not compared"):
            reasons.setdefault(place.method.remark, []).append(place.method.name)
    return [f"{_few(who)} {'has' if len(who) == 1 else 'have'} no result: {remark}." for remark, who in reasons.items()]


def _defaults(judged: Judgement) -> list[str]:
    """The number of studies in which the search found nothing better than the defaults."""
    searched = [method for method in judged.comparison.methods if not method.outside and method.selection]
    studies = sum(len(method.selection) for method in searched)
    won = sum(method.defaults_won for method in searched)
    several = [method for method in searched if any(row.number for row in method.rows)]
    if not studies or not several:
        return []
    return [f"In {won} of {studies} studies (of all methods) the search found nothing better than the defaults."]


def _meaning(judged: Judgement) -> list[str]:
    metric = judged.comparison.metric
    found = []
    if metric.doubtful:
        found.append("No true labels are known: this is accuracy against doubtful labels, and may favour their errors.")
    if metric.name.startswith("selection score"):
        found.append("No test accuracy is known: a selection score is the best of many and flatters its method.")
    if judged.comparison.unequal:
        found.append("Budgets or selection rules differ between the folders (--allow-unequal).")
    if any(method.outside for method in judged.comparison.methods):
        found.append("Scores from CSV files were made elsewhere; their data, labels and budget cannot be checked.")
    return found
