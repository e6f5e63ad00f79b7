"""The inputs that a sweep needs before anything starts: its data, its label plans, its selection rule; all checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import platform.core.spec as spec
import platform.training.selection as selection
from platform.core.code_hash import code_hash, file_hash
from platform.core.errors import Problem, UserError
from platform.core.fingerprints import Fingerprints, labels_name
from platform.core.registry import MODELS, RULES
from platform.data import open_dataset
from platform.data.dataset import Dataset, LabelPlan
from platform.data.label_plan import make_plan, save_plan
from platform.report.provenance import versions
from platform.sweepfile import Sweep
from platform.training.selection import Rule
from platform.training.trial import Trial, check_truth

__all__ = ["Inputs", "open_inputs"]


@dataclass(frozen=True)
class Inputs:
    """plans: the label plan of each study by (study index, repeat); repeat 0 = the search."""

    rule: Rule
    dataset: Dataset
    plans: dict[tuple[int, int], LabelPlan]

    @property
    def search_plans(self) -> dict[int, LabelPlan]:
        """The label plans of the searches by study index."""
        return {index: plan for (index, repeat), plan in self.plans.items() if not repeat}

    @property
    def label_hashes(self) -> dict[tuple[int, int], str]:
        return {pair: plan.sha256 for pair, plan in self.plans.items()}

    def fingerprints(self, sweep: Sweep) -> Fingerprints:
        """Hashes of all that the results of the sweep depend on besides its settings."""
        code = {f"method {entry.name}": code_hash(entry.cls, entry.plugin_source) for entry in sweep.methods}
        code[f"model {sweep.model}"] = file_hash(MODELS, sweep.model)
        code[f"selection rule {sweep.select}"] = file_hash(RULES, sweep.select)
        decide = ("torch", "numpy", *(["timm"] if sweep.model.startswith("timm:") else []))
        installed = versions()
        return Fingerprints(
            training_version=spec.TRAINING_VERSION,
            code=code,
            data=self.dataset.fingerprint,
            images={"training images": len(self.dataset.train), "test images": len(self.dataset.test)},
            labels={labels_name(*pair): labels for pair, labels in self.label_hashes.items()},
            versions={name: installed[name] for name in decide if name in installed},
        )

    def save_plans(self, folder: Path) -> None:
        """Write every label plan: study-0.npz, study-0-repeat-1.npz."""
        for (index, repeat), plan in self.plans.items():
            save_plan(plan, folder / (f"study-{index}" + (f"-repeat-{repeat}" if repeat else "") + ".npz"))


def open_inputs(sweep: Sweep) -> Inputs:
    """Open the data, draw the label plans and try each method on them. Raises UserError with all that is wrong."""
    rule = selection.get(sweep.select)
    inputs = Inputs(rule, *_open_data(sweep))
    if rule.needs_truth and any(plan.true is None for plan in inputs.search_plans.values()):
        names = ", ".join(name for name in RULES.names() if not selection.get(name).needs_truth)
        hint = f"rules without need of it: {names}\n{inputs.dataset.truth_hint}"
        raise UserError(Problem(f"'{rule.name}' needs true labels; this data has none", "select", hint=hint))
    for entry in sweep.methods:
        with sweep.locate():
            check_truth(entry.name, entry.cls, inputs.plans[0, 0], hint=inputs.dataset.truth_hint)
    _check_fit(sweep, inputs)
    return inputs


def _open_data(sweep: Sweep) -> tuple[Dataset, dict[tuple[int, int], LabelPlan]]:
    """The data and the label plans: those of the searches, then those of the repeats, by study."""
    budget = sweep.budget
    studies = {study.index: study for study in sweep.studies()}
    seeds = {(index, 0): study.seeds for index, study in studies.items()}
    repeats = [(index, repeat + 1) for index in range(budget.studies) for repeat in range(budget.repeats)]
    seeds |= {pair: sweep.repeat_seeds(*pair) for pair in repeats}
    with sweep.locate():
        dataset = open_dataset(sweep.data, studies[0].seeds["data"], progress=True)
        return dataset, {pair: make_plan(dataset, sweep.labels, chosen) for pair, chosen in seeds.items()}


def _check_fit(sweep: Sweep, inputs: Inputs) -> None:
    """Build each method's first trial, so that what does not fit together is reported before anything starts.

    Only the defaults are tried: a proposal that does not fit ends as a failed trial with the same message.
    """
    problems: list[Problem] = []
    for study in sweep.studies():
        if study.index == 0:
            try:
                with sweep.locate():
                    Trial(study.resolve(study.start), inputs.dataset, inputs.plans[0, 0], study.method.cls)
            except UserError as error:
                problems += error.problems
            except (ValueError, LookupError) as error:
                problems.append(_unfit(sweep, study.method.name, str(error)))
    if problems:
        raise UserError(*dict.fromkeys(problems))


def _unfit(sweep: Sweep, method: str, text: str) -> Problem:
    """The problem of a method that cannot be built: at the line of the setting that its text begins with, where that is
    written, else at that of the model, or of the methods."""
    setting, _, message = text.partition(": ")
    for key in sweep.lines:
        section, _, name = key.partition(".")
        name = name.removeprefix(f"{method}.")
        if key == setting or (section in ("fixed", "search") and (name == setting or name.endswith(f"_{setting}"))):
            return Problem(message, key=key, where=sweep.lines[key])
    where = sweep.lines.get("model", sweep.lines.get("methods", sweep.path))
    return Problem(text, key=method, where=where)
