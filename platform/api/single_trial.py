"""One trial of a sweep file in this process: what `kurabe.trial` makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import platform.sweepfile as sweepfile
from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.spec import TrainSettings, TrialSpec
from platform.sweepfile import Study, Sweep
from platform.sweepfile.error_text import parse
from platform.sweepfile.shipped import find_sweep_file
from platform.training.trial import Trial
from platform.training.trial_data import PROCESS_DATA


def make_trial(
    space: str | Path, overrides: Sequence[str], method: str | None, study: int, device: str, settings: dict[str, Any]
) -> Trial:
    """The trial with the defaults of its method, moved into the searched ranges, and what `settings` change of them.

    settings: hyper-parameters by name, settings of training by name (`train.lr` or `lr`). Raises UserError.
    """
    sweep = sweepfile.load(find_sweep_file(str(space)), list(overrides))
    chosen = _study(sweep, method, study)
    spec = _with(chosen, settings)
    with sweep.locate():
        dataset, plan = PROCESS_DATA.load(spec)
        return Trial(spec, dataset, plan, chosen.method.cls, device)


def _study(sweep: Sweep, method: str | None, index: int) -> Study:
    names = [entry.name for entry in sweep.methods]
    if method is None and len(names) > 1:
        example = f'kurabe.trial("{sweep.path}", method="{names[0]}")'
        raise UserError(Problem(f"which of its methods? {', '.join(names)}", where=sweep.path, hint=example))
    wanted = names[0] if method is None else method
    if wanted not in names:
        hint = did_you_mean(wanted, names, "python -m platform.catalog")
        hint += f'\nanother method in this file: kurabe.trial("{sweep.path}", "methods=[NAME]")'
        raise UserError(Problem(f"no method '{wanted}' in this sweep", "method", sweep.path, hint))
    found = [study for study in sweep.studies() if study.method.name == wanted]
    if not 0 <= index < len(found):
        many = f"its studies are 0 to {len(found) - 1}" if len(found) > 1 else "it has one study, 0"
        hint = f'more of them: kurabe.trial("{sweep.path}", "budget.studies={index + 1}", study={index})'
        raise UserError(Problem(f"no study {index}; {many}", "study", sweep.path, hint if index > 0 else ""))
    return found[index]


def _with(study: Study, settings: dict[str, Any]) -> TrialSpec:
    """The study's first trial with other values. Raises UserError with every name and value that is wrong."""
    spec = study.resolve(study.start)
    hyper, train = dict(spec.hyper), spec.train.model_dump(mode="json")
    problems = []
    for name, value in settings.items():
        if name in hyper:
            hyper[name] = value
        elif (short := name.removeprefix("train.")) in train:
            train[short] = value
        else:
            known = [*hyper, *train]
            hint = did_you_mean(name, known, f"python -m platform.catalog {study.method.written}")
            hint += f'\nanother key of a sweep file: kurabe.trial(..., "{name}={_yaml(value)}")'
            problems.append(
                Problem(f"no hyper-parameter of {study.method.name} and no setting of training", name, "", hint)
            )
    parsed: list[Any] = []
    for model, values in ((study.method.cls.Hyper, hyper), (TrainSettings, train)):
        try:
            parsed.append(parse(model, values))
        except ValidationError as error:
            problems += [_refused(found, study) for found in error.errors()]
    if problems:
        raise UserError(*problems)
    return spec.model_copy(update={"hyper": parsed[0].model_dump(mode="json"), "train": parsed[1]})


def _refused(error: Any, study: Study) -> Problem:
    key = ".".join(map(str, error["loc"]))
    message = str(error["msg"]).removeprefix("Value error, ")
    message = f"{message[:1].lower()}{message[1:]}, not {error['input']!r}" if key else message
    return Problem(message, key, "", f"python -m platform.catalog {study.method.written} shows what it takes")


def _yaml(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError:
        return str(value)
