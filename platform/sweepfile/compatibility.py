"""Samplers, objectives and schedulers that go together with a space, with notes on those that do so in part."""

from __future__ import annotations

from platform.sweepfile.checked_sweep import Study, Sweep
from platform.sweepfile.schema import Budget, SweepFile
from platform.sweepfile.yaml_tree import Document

GP_TRIALS = 200
"""The most trials of a study for which a Gaussian process proposes within seconds."""

SEVERAL = ("nsga2", "tpe", "random", "qmc")
"""Samplers that take two objectives."""

QUANTILE = 0.25
"""Population-based training: at a milestone the worst quarter is replaced by children of the best quarter."""

MEMBERS = 4
"""The number of scores at a milestone from which on its worst quarter is determined."""

TRAIN_IN_FLIGHT = ("train.lr", "train.weight_decay")
"""Training settings that act at every step: the rate is computed from it, the decay is in the optimiser's groups."""


def perturbable(study: Study) -> list[str]:
    """Searched parameters that population-based training may change: they act in flight, and no condition hangs on
    them."""
    conditions = {other for entry in study.space.values() for other, _ in entry.when}
    allowed = (*TRAIN_IN_FLIGHT, *study.method.cls.in_flight)
    return [key for key in study.space if key in allowed and key not in conditions]


def check_objectives(document: Document, file: SweepFile) -> None:
    """Check what two objectives exclude."""
    budget, path = file.budget, ("budget", "objectives")
    if document.has_problem("budget"):
        return
    if len(set(budget.objectives)) < len(budget.objectives) or budget.objectives[0] != "score":
        document.report(path, f"{_list(budget.objectives)} is neither [score] nor [score, seconds]")
    elif len(budget.objectives) == 2:
        if budget.scheduler != "none":
            message = f"a scheduler (here {budget.scheduler}) stops trials by the score alone"
            document.report(path, message, "write scheduler: none, or objectives: [score]")
        if budget.sampler not in SEVERAL:
            message = f"{budget.sampler} searches for one objective"
            document.report(("budget", "sampler"), message, f"with objectives: [score, seconds]: {_list(SEVERAL)}")


def check_search(document: Document, sweep: Sweep) -> None:
    """Check what a sampler or a scheduler needs of the spaces. Last of all checks, since it needs the studies."""
    budget = sweep.budget
    studies = [study for study in sweep.studies() if study.index == 0 and study.space]
    if budget.sampler == "gp" and budget.most_trials > GP_TRIALS:
        message = f"gp is for at most {GP_TRIALS} trials per study, here are {budget.trials or 'any number'}"
        document.report(("budget", "sampler"), message, f"write trials: {GP_TRIALS}, or sampler: tpe")
    for study in studies:
        if budget.sampler == "cmaes" and not _numbers(study):
            message = f"cmaes searches numbers that every trial has; {study.method.name} has none among "
            hint = "sampler: tpe, or qmc, takes choices and conditions"
            document.report(("budget", "sampler"), message + ", ".join(study.space), hint)
    if budget.scheduler == "pbt":
        _check_population(document, budget, studies)


def _check_population(document: Document, budget: Budget, studies: list[Study]) -> None:
    path = ("budget", "scheduler")
    for study in studies:
        if not perturbable(study):
            allowed = ", ".join([*TRAIN_IN_FLIGHT, *study.method.cls.in_flight])
            message = f"pbt has nothing to change in {study.method.name}: none of what is searched acts in flight"
            document.report(path, message, f"search one of {allowed}, or take scheduler: asha")
    if not studies:
        document.report(path, "pbt has nothing to change: nothing is searched", "write scheduler: none")
    if budget.trials is None or budget.trials < MEMBERS:
        message = f"pbt needs a population: budget.trials of {MEMBERS} or more, here {budget.trials or 'no number'}"
        document.report(path, message, "write trials: 16")
    if budget.repeats:
        message = "a winner of pbt has changed its settings on its way, which a repeat on fresh seeds would not do"
        document.report(("budget", "repeats"), message, "write repeats: 0, and studies: 3 to see how it varies")


def notes(study: Study, budget: Budget) -> list[str]:
    """Notes on what the sampler does with this space that its name does not suggest."""
    if not study.space or study.trials < 2:
        return []
    found = []
    beside = {"cmaes": [k for k in study.space if k not in _numbers(study)]}
    beside["gp"] = beside["nsga2"] = [key for key, entry in study.space.items() if entry.when]
    if left := beside.get(budget.sampler):
        found.append(f"{budget.sampler} leaves {', '.join(left)} to chance: it models what every trial has")
    if budget.sampler in ("gp", "nsga2") and budget.scheduler != "none":
        found.append(f"{budget.sampler} learns from completed trials only: {budget.scheduler} leaves it few")
    return found


def _numbers(study: Study) -> list[str]:
    return [key for key, entry in study.space.items() if not entry.when and entry.range.kind != "choice"]


def _list(words: object) -> str:
    return f"[{', '.join(map(str, words))}]" if isinstance(words, (list, tuple)) else str(words)
