"""kurabe.figures: every figure that the program draws, in one call, and words where there is nothing to draw."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

import kurabe
from platform.report import figures as drawn_figures
from platform.report.judge import comparison_figures
from tests.api.test_results_tables import stored
from tests.report.judge.made_sweep import made_sweep

THREE = {"supervised": [0.8] * 6, "fixmatch": [0.9, 0.91, 0.92, 0.9, 0.93, 0.92], "mixup": [0.85, 0.84] * 3}


@pytest.mark.slow
def test_each_figure_of_a_sweep_is_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `draw_all` would write is what `names` lists, and each name is a function's."""
    sweep = stored(tmp_path / "digits", methods=["clid_mu", "fixmatch"], trials=3)
    results = kurabe.load(sweep.folder)
    found = results.one()
    found.info.resolved["budget"]["objectives"] = ["score", "seconds"]
    for row in found.rows:
        for report in row.reports:
            report |= {"diag/stage_gradient_cosine/stem": 0.1}
            if row.method == "clid_mu":
                report |= {f"diag/weight_{g}_p{q}": q / 100 for g in ("clean", "noisy") for q in (10, 50, 90)}
    listed = kurabe.figures.names(results)
    assert {name.rpartition("/")[2] for name in listed} == {
        *("learning_curves", "score_by_hyperparameter", "label_trust", "layers", "pareto", "methods")
    }
    monkeypatch.setattr(drawn_figures, "_save", lambda figure, path: path)
    made = drawn_figures.draw_all(found.info, found.rows, tmp_path)
    assert [str(path.relative_to(tmp_path).with_suffix("")) for path in made] == listed
    for name in listed:
        method, _, figure = name.rpartition("/")
        draw = getattr(kurabe.figures, figure)
        assert isinstance(draw(results, method) if method else draw(results), Figure)
    before = set(sweep.folder.iterdir())
    kurabe.figures.learning_curves(sweep.folder, "fixmatch")
    assert set(sweep.folder.iterdir()) == before


@pytest.mark.slow
def test_each_figure_of_a_comparison_is_one_call(tmp_path: Path) -> None:
    judged = kurabe.compare(made_sweep(tmp_path / "a", THREE, trials=4))
    names = {drawing.name for drawing in comparison_figures.drawings(judged)}
    assert len(names) == 7
    for name in names:
        assert isinstance(getattr(kurabe.figures, name)(judged), Figure)
    assert {name for name in kurabe.figures.__all__ if getattr(kurabe.figures, name).__doc__} == set(
        kurabe.figures.__all__
    )


def test_nothing_to_draw_is_said_with_the_reason(tmp_path: Path) -> None:
    folder = made_sweep(tmp_path / "a", {"supervised": [0.8], "fixmatch": [0.9]})
    judged = kurabe.compare(folder)

    def said(name: str, *arguments: object) -> str:
        with pytest.raises(kurabe.UserError) as raised:
            getattr(kurabe.figures, name)(*arguments)
        return str(raised.value)

    assert "train: {diagnostics: full}" in said("layers", folder)
    assert "objectives: [score, seconds]" in said("pareto", folder)
    assert "Ranks are compared from three methods on" in said("critical_difference", judged)
    assert "from 20 on" in said("importance", judged) and "nothing to draw: importance" in said("importance", judged)
    assert "three studies or more" in said("profiles", judged)
    assert "which method? method=NAME: supervised, fixmatch" in said("learning_curves", folder)
    assert "did you mean: fixmatch" in said("learning_curves", folder, "fixmach")
    assert "no such folder" in said("methods", tmp_path / "b")
