"""Expected best score against the tuning budget, in trials and in device-seconds, from the trials that are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from platform.core.row import Row, has_score
from platform.report.judge.compared_method import ComparedMethod
from platform.report.judge.estimate import Estimate, mean_estimate

ORDERS = 1000
"""Random orders of a study's trials, for the curve over seconds."""
POINTS = 40


@dataclass(frozen=True)
class BudgetCurve:
    """One method. trials: Estimate for budgets of 1, 2, ... trials; seconds: for each of `grid` device-seconds.

    Means over the studies that have a completed trial, of the same metric as the leaderboard. None where, in any of
    them, half of the draws or more have no completed trial.
    """

    name: str
    trials: list[Estimate | None]
    grid: list[float]
    seconds: list[Estimate | None]


def budget_curve(method: ComparedMethod, accuracy: bool, test: bool) -> BudgetCurve | None:
    """None for a method without stored trials. test: the picked trial's test accuracy, else its score."""
    studies = [trials for study in method.studies if (trials := _trials(method, study, test))]
    studies = [trials for trials in studies if any(np.isfinite(score) for score, *_ in trials)]
    if method.info is None or not studies:
        return None
    maximise = method.info.maximise
    by_trials = [_likely(*_columns(trials), maximise) for trials in studies]
    whole = max(sum(seconds for *_, seconds in trials) for trials in studies)
    grid = [float(x) for x in np.linspace(0, whole, POINTS + 1)[1:]]
    by_seconds = [expected_best_in_seconds(*_columns(trials), _seconds(trials), grid, maximise) for trials in studies]
    return BudgetCurve(
        method.name,
        [_over_studies(by_trials, place, accuracy) for place in range(max(map(len, studies)))],
        grid,
        [_over_studies(by_seconds, place, accuracy) for place in range(len(grid))],
    )


def _likely(scores: Sequence[float], values: Sequence[float], maximise: bool) -> np.ndarray:
    """`expected_best`, NaN where half of the draws or more have no completed trial."""
    return np.where(np.array(completed_share(scores)) > 0.5, expected_best(scores, values, maximise), np.nan)


def expected_best(scores: Sequence[float], values: Sequence[float], maximise: bool = True) -> np.ndarray:
    """Expected value of the picked trial, for a budget of k = 1, ..., N trials drawn without replacement, [N].

    scores: [N] by the selection rule, NaN for trials that did not complete; values: [N] what the picked trial is worth
    (its test accuracy, or the score itself). With trials sorted from the worst to the best score, the i-th is picked in
    C(i - 1, k - 1) of C(N, k) draws:

        E(k) = sum_i C(i - 1, k - 1) values(i) / C(N, k),

    unbiased for every k (Tang et al., 2020, arXiv 2004.13979; with replacement in Dodge et al., 2019, arXiv 1909.03004,
    which is biased). Trials that did not complete cost a draw and are never picked; draws without any completed trial
    have no value and are left out of the mean. Of equal scores the earlier trial is picked.
    """
    order, weights = _pick_probabilities(np.asarray(scores, dtype=float), maximise)
    worth = np.asarray(values, dtype=float)[order]
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, weights @ worth / np.where(total > 0, total, 1), np.nan)


def completed_share(scores: Sequence[float]) -> list[float]:
    """The share of draws of k = 1, ..., N trials with a completed one in them."""
    return list(_pick_probabilities(np.asarray(scores, dtype=float), True)[1].sum(axis=1))


def _pick_probabilities(scores: np.ndarray, maximise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Completed trials from worst to best, [m]; P(trial is picked | k draws), [N, m]."""
    n = len(scores)
    signed = scores if maximise else -scores
    done = [i for i in range(n) if np.isfinite(scores[i])]
    order = np.array(sorted(done, key=lambda i: (signed[i], -i)), dtype=int)
    ranks = n - len(order) + np.arange(1, len(order) + 1)  # those that did not complete are the lowest
    k = np.arange(1, n + 1)[:, None]
    chosen = _log_choose(ranks[None, :] - 1, k - 1) - _log_choose(np.full_like(k, n), k)
    return order, np.where(ranks[None, :] >= k, np.exp(chosen), 0.0)


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """log C(n, k); -inf where k > n."""
    inside = np.maximum(n - k, 0)
    value = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(inside + 1)
    return np.where(k <= n, value, -np.inf)


def expected_best_in_seconds(
    scores: Sequence[float],
    values: Sequence[float],
    seconds: Sequence[float],
    grid: Sequence[float],
    maximise: bool = True,
    orders: int = ORDERS,
) -> np.ndarray:
    """Expected value of the picked trial among those that end within s device-seconds, one after the other, [g].

    The mean over random orders of the N trials; orders in which none has completed by then are left out, NaN where
    that is half of them or more. scores, values, seconds: [N]; grid: [g] seconds.
    """
    n, rng = len(scores), np.random.default_rng(0)
    signed = np.asarray(scores, dtype=float) * (1 if maximise else -1)
    signed = np.where(np.isfinite(signed), signed, -np.inf)
    order = np.argsort(rng.random((orders, n)), axis=1)
    drawn = np.hstack([np.full((orders, 1), -np.inf), signed[order]])
    best = np.maximum.accumulate(drawn, axis=1)
    improves = drawn[:, 1:] > best[:, :-1]
    place = np.maximum.accumulate(np.where(improves, np.arange(1, n + 1), 0), axis=1)  # of the trial picked by then
    ended = np.cumsum(np.asarray(seconds, dtype=float)[order], axis=1)
    count = (ended[:, :, None] <= np.asarray(grid)[None, None, :] + 1e-9).sum(axis=1)  # [orders, g]
    rows = np.arange(orders)[:, None]
    at = np.where(count > 0, place[rows, np.maximum(count, 1) - 1], 0)
    worth = np.asarray(values, dtype=float)[order]
    found = np.where(at > 0, worth[rows, np.maximum(at, 1) - 1], np.nan)
    known = np.isfinite(found)
    sums = np.where(known, found, 0.0).sum(axis=0)
    return np.where(known.mean(axis=0) > 0.5, sums / np.maximum(known.sum(axis=0), 1), np.nan)


def assumption(method: ComparedMethod) -> str:
    """The meaning of this method's curve, given how its trials were proposed and stopped."""
    budget: dict[str, Any] = (method.info.resolved.get("budget") or {}) if method.info else {}
    sampler, scheduler = str(budget.get("sampler", "tpe")), str(budget.get("scheduler", "asha"))
    reasons = []
    if sampler not in ("random", "qmc"):
        reasons.append(f"the sampler {sampler} proposes later trials by what earlier ones gave")
    if scheduler not in ("none", "None"):
        reasons.append(f"{scheduler} decides by other trials which one ends early")
    if not reasons:
        return "Trials were drawn independently, so the curve is unbiased for a search of that budget."
    return (
        f"Unbiased for drawing among the trials that were run; but {' and '.join(reasons)}, so a search of a smaller "
        "budget would have run other trials, and the curve is only a guide to it."
    )


_Trial = tuple[float, float, float]  # score by the rule, value of the metric, device-seconds


def _trials(method: ComparedMethod, study: str, test: bool) -> list[_Trial]:
    rows = [row for row in method.rows if row.study.rpartition("/")[2] == study and row.outcome is not None]
    return [_trial(row, test) for row in sorted(rows, key=lambda row: row.number)]


def _trial(row: Row, test: bool) -> _Trial:
    value = row.test_accuracy if test else row.score
    if not has_score(row) or row.score is None or value is None:
        return np.nan, np.nan, row.spent
    return row.score, value, row.spent


def _columns(trials: Sequence[_Trial]) -> tuple[list[float], list[float]]:
    return [score for score, *_ in trials], [np.nan_to_num(value) for _, value, _ in trials]


def _seconds(trials: Sequence[_Trial]) -> list[float]:
    return [seconds for *_, seconds in trials]


def _over_studies(curves: Sequence[np.ndarray], place: int, accuracy: bool) -> Estimate | None:
    """None unless every study has a value: a mean over other studies at each place would jump."""
    values = [curve[place] if place < len(curve) else np.nan for curve in curves]
    return mean_estimate(values, accuracy) if np.all(np.isfinite(values)) else None
