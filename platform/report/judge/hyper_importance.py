"""The importance of each hyper-parameter for the selection score, by Optuna's PED-ANOVA over completed trials."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from platform.core.row import Row, has_score
from platform.report.judge.compared_method import ComparedMethod

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 20
"""Completed trials below which nothing is said: PED-ANOVA compares the best quarter with all, and five are little."""


@dataclass(frozen=True)
class Importance:
    """share: of the importance of all hyper-parameters that its trials have. branch: "" or the condition it acts under,
    as `gate_mode: sample`; then trials and share are of that branch only."""

    parameter: str
    share: float
    trials: int
    branch: str = ""


def importances(method: ComparedMethod) -> list[Importance] | str:
    """Largest first, unconditional ones before conditional ones; or a sentence that says why there are none.

    PED-ANOVA (Watanabe et al., 2023, arXiv 2304.10255): how far the distribution of a value among the best quarter of
    the trials (the best tenth, from 50 trials on) is from that among all. Trials of all studies are taken together,
    each score less the mean of its study. A sampler that crowds where scores are good makes all importances smaller.
    """
    if method.info is None:
        return f"{method.name}: its trials are not known, so neither is what mattered."
    done = [row for row in method.rows if has_score(row) and row.params]
    if len(done) < FEWEST:
        return (
            f"{method.name}: {len(done)} completed trials with searched values; what mattered is said from {FEWEST} on."
        )
    space = _space(method)
    always = {name for name in space if all(name in row.params for row in done)}
    found = [
        Importance(name, share, len(done)) for name, share in _shares(done, space, always, method.info.maximise).items()
    ]
    for name in space:
        branch = [row for row in done if name in row.params]
        if name in always or len(branch) < FEWEST:
            continue
        inside = {other for other in space if all(other in row.params for row in branch)}
        share = _shares(branch, space, inside, method.info.maximise).get(name)
        if share is not None:
            found.append(Importance(name, share, len(branch), _condition(space[name])))
    if not found:
        return f"{method.name}: no hyper-parameter has {FEWEST} completed trials."
    return sorted(found, key=lambda one: (bool(one.branch), -one.share))


def _space(method: ComparedMethod) -> dict[str, dict[str, Any]]:
    """Ranges of the sweep file by the method's own names."""
    assert method.info is not None
    given = method.info.resolved.get("search") or {}
    names = dict.fromkeys(name for row in method.rows for name in row.params)
    full = {name: name if name.startswith("train.") else f"{method.method}.{name}" for name in names}
    found = {name: given.get(place, given.get(name)) for name, place in full.items()}
    return {name: written for name, written in found.items() if isinstance(written, dict)}


def _condition(written: Mapping[str, Any]) -> str:
    when = written.get("when") or {}
    words = [
        f"{key}: {' or '.join(map(str, value)) if isinstance(value, list) else value}" for key, value in when.items()
    ]
    return ", ".join(words) or "where it is active"


def _shares(
    rows: Sequence[Row], space: Mapping[str, Mapping[str, Any]], names: set[str], maximise: bool
) -> dict[str, float]:
    """Importance of each name over the sum of all; nothing where all are zero."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    ranges = {name: _distribution(space[name]) for name in space if name in names}
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it says on the screen that a study was made
    study = optuna.create_study(direction="maximize" if maximise else "minimize")
    optuna.logging.set_verbosity(told)
    for row, value in zip(rows, _less_study_mean(rows), strict=True):
        params = {name: row.params[name] for name in ranges}
        try:
            study.add_trial(optuna.trial.create_trial(params=params, distributions=ranges, value=value))
        except ValueError:  # a value outside the range, which a population's perturbation can give
            continue
    evaluator = PedAnovaImportanceEvaluator(target_quantile=0.1 if len(rows) >= 50 else 0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = evaluator.evaluate(study) if study.trials else {}
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total > 0 else {}


def _less_study_mean(rows: Sequence[Row]) -> list[float]:
    groups: dict[str, list[float]] = {}
    for row in rows:
        groups.setdefault(row.study, []).append(row.score or 0.0)
    return [(row.score or 0.0) - sum(groups[row.study]) / len(groups[row.study]) for row in rows]


def _distribution(written: Mapping[str, Any]) -> BaseDistribution:
    """Optuna's form of a range as the sweep file has it: {log_uniform: [low, high]}."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    kind, arguments = next((key, value) for key, value in written.items() if key != "when")
    if kind == "choice":
        return CategoricalDistribution(arguments)
    low, high, *step = arguments
    if "int" in kind:
        return IntDistribution(int(low), int(high), log="log" in kind, step=int(step[0]) if step else 1)
    return FloatDistribution(low, high, log="log" in kind, step=step[0] if step else None)
