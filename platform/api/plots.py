"""Every figure that the program draws, as a matplotlib figure: `kurabe.figures`. Nothing is written.

Of a sweep: `results` is what `kurabe.load` gave, or the folder. Of a comparison: `judged` is what `kurabe.compare`
gave, or a folder. The last line of a notebook's cell shows its figure; `figure.savefig("name.pdf")` writes it. Each
raises UserError where there is nothing to draw, and says why.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.invocation import called_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from platform.api.loaded_sweep import LoadedSweep
    from platform.api.results_tables import Results
    from platform.report.judge.comparison_figures import Drawing
    from platform.report.judge.judgement import Judgement

__all__ = [
    "best_against_budget",
    "critical_difference",
    "differences",
    "importance",
    "intervals",
    "label_trust",
    "layers",
    "learning_curves",
    "methods",
    "names",
    "pareto",
    "profiles",
    "score_against_cost",
    "score_by_hyperparameter",
]


# -- of a sweep --------------------------------------------------------------------------------------------------------


@called_by("python")
def learning_curves(results: Results | str | Path, method: str | None = None, sweep: str | None = None) -> Figure:
    """Score and test accuracy over training steps: every trial thin, the winner of each study bold."""
    return _of_method(results, method, sweep, "learning_curves", "none of its trials has been evaluated yet")


@called_by("python")
def score_by_hyperparameter(
    results: Results | str | Path, method: str | None = None, sweep: str | None = None
) -> Figure:
    """The score against each searched hyper-parameter, a panel each."""
    return _of_method(results, method, sweep, "score_by_hyperparameter", "no trial has a score, or nothing is searched")


@called_by("python")
def label_trust(results: Results | str | Path, method: str | None = None, sweep: str | None = None) -> Figure:
    """The trust of a method in right and in wrong labels over time, where it weighs labels and the truth is known."""
    why = "the method weighs no labels, or no true label is known"
    return _of_method(results, method, sweep, "label_trust", why)


@called_by("python")
def layers(results: Results | str | Path, sweep: str | None = None) -> Figure:
    """Gradients and CLID layer by layer, at the last evaluation of the winners."""
    why = "it takes a sweep with `train: {diagnostics: full}`"
    return _draw(_loaded(results, sweep), "layers", why)


@called_by("python")
def pareto(results: Results | str | Path, sweep: str | None = None) -> Figure:
    """Score against seconds of every completed trial, with the front of each study."""
    why = "it takes a sweep with `budget: {objectives: [score, seconds]}` and a completed trial"
    return _draw(_loaded(results, sweep), "pareto", why)


@called_by("python")
def methods(results: Results | str | Path, sweep: str | None = None) -> Figure:
    """The winners, or their repeats, of all methods side by side, with means and 95 % intervals."""
    return _draw(_loaded(results, sweep), "methods", "it takes two methods, and a completed trial")


@called_by("python")
def names(results: Results | str | Path, sweep: str | None = None) -> list[str]:
    """The figures that a sweep allows, by their names in results/NAME/figures: fixmatch/learning_curves, layers, ..."""
    from platform.report.figures import available

    found = _loaded(results, sweep)
    return list(available(found.info, found.rows))


def _loaded(results: Results | str | Path, sweep: str | None) -> LoadedSweep:
    from platform.api.results_tables import Results, read_results

    return (results if isinstance(results, Results) else read_results([results])).one(sweep)


def _of_method(results: Results | str | Path, method: str | None, sweep: str | None, name: str, why: str) -> Figure:
    found = _loaded(results, sweep)
    known = found.info.methods
    if method is None and len(known) > 1:
        raise UserError(Problem(f"which method? method=NAME: {', '.join(known)}", where=str(found.folder)))
    chosen = known[0] if method is None else method
    if chosen not in known:
        raise UserError(
            Problem(f"no method '{chosen}' in this sweep", "", str(found.folder), did_you_mean(chosen, known))
        )
    return _draw(found, f"{chosen}/{name}", why)


def _draw(found: LoadedSweep, name: str, why: str) -> Figure:
    import matplotlib as mpl

    from platform.report.figures import STYLE, available

    makers = available(found.info, found.rows)
    if name not in makers:
        hint = f"{why}\nfigures of this sweep: {', '.join(makers) or 'none'}"
        raise UserError(Problem(f"nothing to draw: {name}", where=str(found.folder), hint=hint))
    with mpl.rc_context(STYLE):
        return _shown(makers[name](), STYLE)


# -- of a comparison ---------------------------------------------------------------------------------------------------


@called_by("python")
def intervals(judged: Judgement | Results | str | Path) -> Figure:
    """Mean and 95 % interval of every method, and its blocks as small dots."""
    return _compared(judged, "intervals", "no method has a score")


@called_by("python")
def differences(judged: Judgement | Results | str | Path) -> Figure:
    """The difference of every pair of methods with its 95 % interval; those that are sure in colour."""
    return _compared(judged, "differences", "it takes two methods with a score on the same study")


@called_by("python")
def critical_difference(judged: Judgement | Results | str | Path) -> Figure:
    """Demsar's diagram: average ranks on a line, methods that do not differ joined by a bar."""
    return _compared(judged, "critical_difference", "")


@called_by("python")
def profiles(judged: Judgement | Results | str | Path) -> Figure:
    """Performance profiles: the share of blocks in which a method is better than a threshold."""
    return _compared(judged, "profiles", "it takes a method with three studies or more")


@called_by("python")
def best_against_budget(judged: Judgement | Results | str | Path) -> Figure:
    """The expected score of the trial that the rule picks, against trials and against device-seconds."""
    return _compared(judged, "best_against_budget", "it takes two trials of a study with a test accuracy")


@called_by("python")
def score_against_cost(judged: Judgement | Results | str | Path) -> Figure:
    """The mean score of every method against the device-seconds that it took."""
    return _compared(judged, "score_against_cost", "no cost is known")


@called_by("python")
def importance(judged: Judgement | Results | str | Path) -> Figure:
    """The importance of each hyper-parameter for the selection score (PED-ANOVA)."""
    return _compared(judged, "importance", "")


_MAKERS = {"differences": "pairs", "importance": "what_mattered"}
"""Functions of comparison_figures.py that are called otherwise than the files of what they draw."""


def _compared(judged: Judgement | Results | str | Path, name: str, why: str) -> Figure:
    import matplotlib as mpl

    import platform.report.judge.comparison_figures as drawing
    from platform.api.judged import judge_results
    from platform.report.judge.judgement import Judgement

    found = judged if isinstance(judged, Judgement) else judge_results([judged])
    make: Callable[[Judgement], Drawing | None] = getattr(drawing, _MAKERS.get(name, name))
    with mpl.rc_context(drawing.STYLE):
        made = make(found)
        if made is None:
            raise UserError(Problem(f"nothing to draw: {name}", hint=why or _why(found, name)))
        return _shown(made.figure, drawing.STYLE)


def _why(judged: Judgement, name: str) -> str:
    """The judge's own words for what is missing."""
    if name == "critical_difference":
        return str(judged.ranks)
    from platform.report.judge.hyper_importance import importances

    found = [importances(place.method) for place in judged.scored]
    return "\n".join(text for text in found if isinstance(text, str)) or "no method has a score"


# -- in a notebook -----------------------------------------------------------------------------------------------------


def _shown(figure: Figure, style: Any) -> Figure:
    """The figure; a notebook shows it, also where pyplot, which would see to that, has not been imported."""
    from matplotlib.figure import Figure as AnyFigure

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    formatter = shell.display_formatter.formatters.get("image/png") if shell is not None else None
    if formatter is not None and AnyFigure not in formatter.type_printers:
        formatter.for_type(AnyFigure, lambda drawn: _png(drawn, style))
    return figure


def _png(figure: Figure, style: Any) -> bytes:
    import matplotlib as mpl

    content = io.BytesIO()
    with mpl.rc_context({**style, "savefig.dpi": 80}):
        figure.savefig(content, format="png")
    return content.getvalue()
