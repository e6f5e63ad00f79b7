"""The plan of a sweep, as `--dry-run` prints it: what would be tried, on what, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from platform.dry_run.printing import make_table, make_text
from platform.dry_run.scheduler_preview import stopping
from platform.sweepfile.checked_sweep import Study, Sweep
from platform.sweepfile.compatibility import notes
from platform.sweepfile.error_text import show
from platform.sweepfile.schema import UNLIMITED
from platform.sweepfile.space import condition_text

MANY = 100
"""The most trials that a scheduler is simulated with; more of them change its forecast little."""

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from platform.data.dataset import Dataset, LabelPlan


def describe(
    sweep: Sweep, dataset: Dataset | None = None, label_plans: Mapping[int, LabelPlan] | None = None
) -> RenderableType:
    """The plan for a console: `rich.print(describe(sweep))`. label_plans: by study index."""
    from rich.console import Group

    studies = sweep.studies()
    blocks = [[make_text(f"{sweep.name}: the plan; nothing was started", "bold"), _amount(sweep, studies)]]
    blocks += [_data(sweep, dataset, label_plans), _schedule(sweep, studies)]
    blocks += [_space(study) for study in studies if study.index == 0]
    blocks += [_notes(sweep, studies, dataset, label_plans)]
    return Group(*(part for block in blocks if block for part in (*block, make_text(""))))


def _amount(sweep: Sweep, studies: list[Study]) -> Text:
    budget = sweep.budget
    total = sum(study.trials for study in studies)
    again = budget.repeats * len(studies)
    methods = f"{len(sweep.methods)} method{'s' * (len(sweep.methods) != 1)}"
    many = f"{sweep.budget.studies} stud{'ies' if sweep.budget.studies != 1 else 'y'}"
    each = f" x {budget.per_study}" if total == len(studies) * budget.most_trials else ", see the notes"
    count = "trials" if total >= UNLIMITED else f"{'up to ' if budget.seconds else ''}{total} trials"
    repeats = f"then {again} repeats: each study's winner on {budget.repeats} fresh seeds, paired\n" if again else ""
    preset = f"preset {budget.preset}; " if budget.preset else ""
    return make_text(
        f"{preset}{count} ({methods} x {many}{each}), {sweep.train.steps:,} steps each\n{repeats}"
        f"model {sweep.model}, selected by {sweep.select}, tracking {sweep.tracking}"
    )


def _data(sweep: Sweep, dataset: Dataset | None, plans: Mapping[int, LabelPlan] | None) -> list[Any]:
    labels = sweep.labels
    noise = labels.noise + (f" {labels.rate:g}" if labels.rate else "")
    noise += f", {labels.group} {labels.group_rate:g}" if labels.group else ""
    if dataset is None or not plans:
        wanted = f"{labels.per_class} per class" if labels.per_class else str(labels.total or "all")
        return [make_text(f"data {sweep.data.source}; labels: {wanted}, noise {noise}", "bold")]
    channels, height, width = dataset.image_shape
    head = f"Each trial learns from {dataset.name}: {dataset.num_classes} classes, "
    head += f"{channels} x {height} x {width} pixels, label noise {noise}"
    table = make_table("study", "labelled", "unlabelled", "validation", "test", "wrong labels")
    for index, plan in sorted(plans.items()):
        counts = (len(plan.labelled), len(plan.unlabelled), len(plan.val), len(dataset.test))
        table.add_row(str(index), *(f"{n:,}" for n in counts), _wrong(plan))
    return [make_text(head, "bold"), table]


def _wrong(plan: LabelPlan) -> str:
    """The share of labelled training images whose label is not the true one."""
    if plan.true is None or not len(plan.labelled):
        return "unknown"
    true, given = plan.true[plan.labelled], plan.given[plan.labelled]
    known = true >= 0
    return f"{(true[known] != given[known]).mean():.1%}" if known.any() else "unknown"


def _schedule(sweep: Sweep, studies: list[Study]) -> list[Any]:
    """The rung table, or why there is none."""
    from platform.core.rungs import evaluation_steps

    steps = evaluation_steps(sweep.train.steps, sweep.train.evaluations)
    return stopping(sweep.budget, steps, studies, min(MANY, max(study.trials for study in studies)))


def _space(study: Study) -> list[Any]:
    spec = study.resolve(study.start)
    sizes = study.method.cls.stream_sizes(study.method.cls.Hyper(**spec.hyper), spec.train.batch_size)
    images = " + ".join(f"{n} {name}" for name, n in sizes.items() if n)
    searched = f"{len(study.space)} searched" if study.space else "nothing searched"
    head = make_text(f"{study.method.name}: {searched}; a step of trial 0 sees {images} images", "bold")
    if not study.space and not study.fixed:
        return [head]
    table = make_table("parameter", "range", "only where", "trial 0")
    for key, entry in study.space.items():
        start = _plain(study.start[key]) if key in study.start else "(not active)"
        table.add_row(key, make_text(str(entry.range)), make_text(condition_text(entry.when)), start)
    for key, value in study.fixed.items():
        table.add_row(key, "fixed", "", _plain(value))
    return [head, table]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else show(value).strip("'")


def _notes(
    sweep: Sweep, studies: list[Study], dataset: Dataset | None, plans: Mapping[int, LabelPlan] | None
) -> list[Any]:
    """Notes on the sweep and its data, each once."""
    notes_of = ((study, (*study.notes, *notes(study, sweep.budget))) for study in studies)
    lines = [f"{study.method.name}: {note}" for study, several in notes_of for note in several]
    lines += dataset.notes if dataset else ()
    lines += [note for plan in (plans or {}).values() for note in plan.notes]
    unique = list(dict.fromkeys(lines))
    return [make_text("Notes", "bold"), make_text("\n".join(f"  {line}" for line in unique))] if unique else []
