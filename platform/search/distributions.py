"""Search ranges in Optuna's terms."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from methods.ranges import Range


def distribution(range_: Range) -> BaseDistribution:
    """Optuna's form of a range."""
    if range_.kind == "choice":
        return CategoricalDistribution(range_.arguments)
    if range_.integer:
        return IntDistribution(int(range_.low), int(range_.high), log=range_.log, step=int(range_.step or 1))
    return FloatDistribution(range_.low, range_.high, log=range_.log, step=range_.step)


def suggest(trial: optuna.Trial, name: str, range_: Range) -> Any:
    """Draw one parameter through Optuna's public interface."""
    if range_.kind == "choice":
        return trial.suggest_categorical(name, range_.arguments)
    if range_.integer:
        return trial.suggest_int(name, int(range_.low), int(range_.high), log=range_.log, step=int(range_.step or 1))
    return trial.suggest_float(name, range_.low, range_.high, log=range_.log, step=range_.step)
