"""The figures of a comparison: which are drawn, and that they show the judgement's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from platform.report.judge.comparison import open_comparison
from platform.report.judge.comparison_figures import COLOURS, drawings, render
from platform.report.judge.comparison_files import write_comparison
from platform.report.judge.judgement import Judgement, judge
from tests.report.judge.made_sweep import made_sweep

RNG = np.random.default_rng(0)
SIX = {name: list(RNG.normal(mean, 0.01, 6)) for name, mean in (("a", 0.8), ("b", 0.82), ("c", 0.9))}


def judged(folder: Path, count: int = 6, trials: int = 3) -> Judgement:
    return judge(open_comparison([made_sweep(folder, {m: v[:count] for m, v in SIX.items()}, trials=trials)]))


def test_from_six_studies_on_there_is_a_critical_difference_diagram(tmp_path: Path):
    six, five = drawings(judged(tmp_path / "a")), drawings(judged(tmp_path / "b", 5))
    names = ["intervals", "differences", "critical_difference", "profiles", "best_against_budget", "score_against_cost"]
    assert [drawing.name for drawing in six] == names
    assert [drawing.name for drawing in five] == [name for name in names if name != "critical_difference"]


def test_importance_is_drawn_where_there_are_enough_trials(tmp_path: Path):
    (drawn,) = [d for d in drawings(judged(tmp_path / "a", trials=4)) if d.name == "importance"]
    assert len(drawn.figure.axes) == 3 and "PED-ANOVA" in drawn.figure.axes[-1].get_xlabel()


def test_intervals_are_those_of_the_leaderboard(tmp_path: Path):
    found = judged(tmp_path / "a")
    axis = next(d for d in drawings(found) if d.name == "intervals").figure.axes[0]
    ends = [tuple(path.vertices[:, 0]) for line in axis.collections for path in line.get_paths() if len(path) == 2]
    assert [(place.mean.low, place.mean.high) for place in found.scored] == [pytest.approx(end) for end in ends]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["c", "b", "a"]


def test_a_method_has_one_colour_in_every_figure(tmp_path: Path):
    drawn = {d.name: d.figure for d in drawings(judged(tmp_path / "a"))}
    for name in ("profiles", "best_against_budget", "score_against_cost"):
        lines = {line.get_label(): line.get_color() for line in drawn[name].axes[0].get_lines()}
        assert {method: lines[method] for method in "abc"} == dict(zip("abc", COLOURS, strict=False))


def test_files_are_made_and_old_ones_go(tmp_path: Path):
    out = tmp_path / "out"
    old = out / "figures" / "critical_difference.png"
    old.parent.mkdir(parents=True)
    old.touch()
    second = write_comparison(judged(tmp_path / "b", 2, trials=1), out)
    assert not old.exists()
    assert {p for p in out.rglob("*") if p.is_file()} == set(second)
    texts = {path: path.read_bytes() for path in second if path.suffix != ".png"}
    write_comparison(judge(open_comparison([tmp_path / "b"])), out)
    assert {path: path.read_bytes() for path in texts} == texts


def test_a_csv_file_has_the_cost_of_searches_only(tmp_path: Path):
    (tmp_path / "a.csv").write_text("method,study,seed,score,cost\nx,0,0,0.5,100\nx,1,0,0.6,300\n")
    drawn = {d.name: d for d in drawings(judge(open_comparison([tmp_path / "a.csv"])))}
    (axis,) = drawn["score_against_cost"].figure.axes
    assert [list(line.get_xdata()) for line in axis.get_lines()] == [[200.0]]
    (tmp_path / "b.csv").write_text("method,study,seed,score\nx,0,0,0.5\n")
    assert "score_against_cost" not in {d.name for d in drawings(judge(open_comparison([tmp_path / "b.csv"])))}


def test_a_dollar_sign_in_a_name_begins_no_formula(tmp_path: Path):
    (tmp_path / "a.csv").write_text("method,study,seed,score\n$\\frac{,0,0,0.5\n<b>-->$x$,0,0,0.6\n")
    (first, *_) = drawings(judge(open_comparison([tmp_path / "a.csv"])))
    shown = render(first, "svg").decode()
    assert "-->$" not in shown and "<b>" not in shown


def test_one_method_on_one_study_draws_what_it_can(tmp_path: Path):
    found = judge(open_comparison([made_sweep(tmp_path / "a", {"a": [0.9]})]))
    assert [d.name for d in drawings(found)] == ["intervals", "best_against_budget", "score_against_cost"]
    assert drawings(judge(open_comparison([made_sweep(tmp_path / "b", {"a": [None]})]))) == []
