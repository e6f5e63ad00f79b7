"""The part of the plan about the scheduler: its milestones, and how many steps are made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from platform.core.rungs import brackets, perturbations, rungs, shares
from platform.core.stopping_rules import MEDIAN_SAMPLES
from platform.dry_run.printing import make_table, make_text
from platform.dry_run.scheduler_simulation import forecast, forecast_median
from platform.sweepfile.checked_sweep import Study
from platform.sweepfile.compatibility import MEMBERS, QUANTILE, perturbable
from platform.sweepfile.schema import Budget

if TYPE_CHECKING:
    from rich.console import RenderableType


def stopping(budget: Budget, steps: Sequence[int], studies: Sequence[Study], trials: int) -> list[RenderableType]:
    """Head, table and words. steps: of each evaluation; trials: of the largest study."""
    last = len(steps)
    milestones = perturbations(last, budget.grace) if budget.scheduler == "pbt" else _milestones(budget, last)
    reasons = {
        "scheduler: none": budget.scheduler == "none",
        "one trial per study": trials == 1,
        "no rung": not milestones,
    }
    why = next((reason for reason, holds in reasons.items() if holds), None)
    if why:
        return [make_text(f"Every trial runs to its last step ({why}), with {last} evaluations.", "bold")]
    previews = {"asha": _asha, "hyperband": _hyperband, "median": _median, "pbt": _population}
    return previews[budget.scheduler](budget, steps, studies, trials, milestones)


def _milestones(budget: Budget, last: int) -> list[int]:
    if budget.scheduler == "median":
        return list(range(budget.grace, last))
    return rungs(last, budget.reduction_factor, budget.grace)


def _asha(
    budget: Budget, steps: Sequence[int], studies: Sequence[Study], trials: int, milestones: list[int]
) -> list[RenderableType]:
    found = forecast(trials, len(steps), budget.reduction_factor, budget.grace)
    table = make_table("rung", "evaluation", "step", "trials that get there", "if a rung waited for all")
    for position, milestone in enumerate(milestones):
        ideal = max(1.0, trials / budget.reduction_factor**position)
        table.add_row(
            f"{position}", f"{milestone}", f"{steps[milestone - 1]:,}", f"{found.reach[position]:.1f}", f"{ideal:.1f}"
        )
    ideal = max(1.0, trials / budget.reduction_factor ** len(milestones))
    table.add_row("end", f"{len(steps)}", f"{steps[-1]:,}", f"{found.finish:.1f}", f"{ideal:.1f}")
    head = f"ASHA, per study of {trials} trials: at each rung the best 1/{budget.reduction_factor} go on"
    return [make_text(head, "bold"), table, make_text(_ASHA.format(share=f"{found.share:.0%}"))]


_ASHA = """\
About {share} of all steps are made (means over random orders). Nothing waits: a trial is judged when it reaches \
a rung, against those that were there before it. The first one is never stopped, the second has only the first \
to beat. With one or two slots the trials come one after the other: the defaults run to the end, and so do early \
trials that are the best so far, whatever comes later."""


def _hyperband(
    budget: Budget, steps: Sequence[int], studies: Sequence[Study], trials: int, milestones: list[int]
) -> list[RenderableType]:
    found = forecast(trials, len(steps), budget.reduction_factor, budget.grace, hyperband=True)
    groups = brackets(len(steps), budget.reduction_factor, budget.grace)
    table = make_table("bracket", "trials", "judged at evaluation", "at step")
    for position, (group, share) in enumerate(zip(groups, shares(groups), strict=True)):
        at = (", ".join(map(str, group)), ", ".join(f"{steps[milestone - 1]:,}" for milestone in group))
        table.add_row(f"{position}", f"{share * trials:.1f}", at[0] or "never", at[1])
    head = f"Hyperband, per study of {trials} trials: brackets of ASHA that start to stop later and later"
    words = _HYPERBAND.format(share=f"{found.share:.0%}", ends=f"{found.finish:.1f}")
    return [make_text(head, "bold"), table, make_text(words)]


_HYPERBAND = """\
About {share} of all steps are made and {ends} trials run to the end (means over random orders). A trial falls \
into its bracket by chance (its seed), and is judged when it reaches a rung, against those of its bracket that \
were there before: the asynchronous form, in which nothing waits. With one or two slots, or few trials, a \
bracket holds one or two trials at first, and the first of each is never stopped: asha then stops more."""


def _median(
    budget: Budget, steps: Sequence[int], studies: Sequence[Study], trials: int, milestones: list[int]
) -> list[RenderableType]:
    found = forecast_median(trials, len(steps), budget.grace, MEDIAN_SAMPLES)
    table = make_table("evaluation", "step", "trials that get there")
    for milestone, reach in zip(milestones, found.reach, strict=True):
        table.add_row(f"{milestone}", f"{steps[milestone - 1]:,}", f"{reach:.1f}")
    table.add_row(f"{len(steps)}", f"{steps[-1]:,}", f"{found.finish:.1f}")
    head = f"Median rule, per study of {trials} trials: who was never as good as the median trial is stopped"
    words = _MEDIAN.format(share=f"{found.share:.0%}", grace=budget.grace, samples=MEDIAN_SAMPLES)
    return [make_text(head, "bold"), table, make_text(words)]


_MEDIAN = """\
About {share} of all steps are made (means over random orders). At each evaluation from {grace} on, a trial's \
best score so far is compared with the median of the others' mean scores up to there, once {samples} others got \
there. With one or two slots the trials come one after the other: the first {samples} always run to the end."""


def _population(
    budget: Budget, steps: Sequence[int], studies: Sequence[Study], trials: int, milestones: list[int]
) -> list[RenderableType]:
    table = make_table("evaluation", "step", "ended there, and gone on with from a better one")
    most = math.floor(QUANTILE * trials)
    for milestone in milestones:
        table.add_row(f"{milestone}", f"{steps[milestone - 1]:,}", f"at most {most}")
    head = f"Population-based training, per study of {trials} trials: at each milestone the worst quarter is replaced"
    changed = [f"  {s.method.name} changes {', '.join(perturbable(s))}" for s in studies if s.index == 0 and s.space]
    return [make_text(head, "bold"), table, make_text("\n".join([_PBT.format(members=MEMBERS), *changed]))]


_PBT = """\
All steps of the population are made: a trial that ends at a milestone is followed by a new row, which starts from \
the state of one of the best quarter at that milestone, with changed values, and trains the steps that are left. It \
is judged from {members} scores at a milestone on, against those that were there before. With one or two slots the \
trials come one after the other: the first three run to their end unjudged, and the last ones see almost the \
whole population."""
