"""Figures are drawn for every kind of table; people have looked at them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from platform.report import figures, layer_figures
from tests.report.fake_sweep import FakeSweep

PNG = b"\x89PNG"


@pytest.mark.slow
def test_all_figures_of_a_benchmark(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", methods=["fixmatch", "layermatch"], studies=2)
    made = figures.draw_all(sweep.info, sweep.run(), tmp_path / "figures")
    names = {str(path.relative_to(tmp_path / "figures")) for path in made}
    per_method = ("learning_curves.png", "score_by_hyperparameter.png")
    assert names == {f"{m}/{n}" for m in ("fixmatch", "layermatch") for n in per_method} | {"methods.png"}
    assert all(path.read_bytes().startswith(PNG) for path in made)


def test_axes_of_searched_values(tmp_path: Path) -> None:
    """Wide ranges are logarithmic, batch sizes and words are places, a value that only some trials have is drawn."""
    sweep = FakeSweep(tmp_path / "digits", trials=8)
    rows = sweep.run()
    for number, row in enumerate(rows):
        row.params["gate"] = "hard" if number % 2 else "soft"
        if number % 2:
            row.params["only some"] = number / 10
    figure = figures.score_by_hyperparameter(sweep.info, "layermatch", rows)
    axes = {axis.get_xlabel(): axis for axis in figure.axes if axis.get_visible()}
    assert axes["train.lr"].get_xscale() == "log" and axes["centre_ema"].get_xscale() == "linear"
    assert [t.get_text() for t in axes["gate"].get_xticklabels()] == ["hard", "soft"]
    assert [t.get_text() for t in axes["train.batch_size"].get_xticklabels()] == ["16", "32", "64"]
    ringed = 0 if rows.index(max(rows, key=lambda r: (r.outcome == "completed", r.score or 0))) % 2 == 0 else 1
    assert sum(len(line.get_xdata()) for line in axes["only some"].lines) == 4 + ringed


def test_nothing_completed(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", methods=["a", "b"], trials=2)
    rows = sweep.rows()
    for row in rows:
        row.outcome = "failed"
    assert figures.draw_all(sweep.info, rows, tmp_path / "figures") == []


@pytest.mark.slow
def test_trust_in_labels_and_layers_are_drawn_where_trials_looked(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", methods=["clid_mu", "fixmatch"], studies=2)
    rows = sweep.run()
    for row in rows:
        for report in row.reports:
            report |= {f"diag/stage_gradient_cosine/{s}": 0.1 * i for i, s in enumerate(("stem", "stage1", "head"))}
            if row.method == "clid_mu":
                report |= {f"diag/weight_{g}_p{q}": q / 100 for g in ("clean", "noisy") for q in (10, 50, 90)}
                report["diag/weight_auroc"] = 0.8
    made = {str(p.relative_to(tmp_path / "f")) for p in figures.draw_all(sweep.info, rows, tmp_path / "f")}
    assert {"layers.png", "clid_mu/label_trust.png"} <= made and "fixmatch/label_trust.png" not in made
    lines = layer_figures.layers(sweep.info, rows, figures.STUDIES).axes[0].lines
    assert [line.get_label() for line in lines[:2]] == ["clid_mu", "fixmatch"]
    assert list(lines[0].get_ydata()) == [0.0, 0.1, 0.2]
    assert len(layer_figures.layers(sweep.info, rows, figures.STUDIES).axes) == 1  # only what was looked at
    spread, told = layer_figures.label_trust(sweep.info, "clid_mu", rows[:12], figures.STUDIES).axes
    assert [set(line.get_ydata()) for line in spread.lines] == [{0.5}, {0.5}] and len(told.lines) == 3


def test_figures_without_a_value_are_not_drawn(tmp_path: Path) -> None:
    """Without true labels nobody knows which weights are of right labels: a figure of that would be empty."""
    sweep = FakeSweep(tmp_path / "digits", methods=["clid_mu"], trials=1)
    rows = sweep.run()
    unknown = [f"diag/weight_{g}_p{q}" for g in ("clean", "noisy") for q in (10, 50, 90)]
    for report in rows[0].reports:
        report |= dict.fromkeys([*unknown, "diag/weight_auroc", "diag/stage_gradient_oracle/stem"], math.nan)
    rows[0].params = {}
    names = {path.name for path in figures.draw_all(sweep.info, rows, tmp_path / "f")}
    assert names == {"learning_curves.png"}
    for report in rows[0].reports:
        report |= {"diag/weight_clean_p10": 0.1, "diag/weight_clean_p50": 0.5, "diag/weight_clean_p90": 0.9}
    assert len(layer_figures.label_trust(sweep.info, "clid_mu", rows, figures.STUDIES).axes) == 1
    for report in rows[0].reports:
        report |= {"score": math.nan, "test_accuracy": math.nan}
    assert {p.name for p in figures.draw_all(sweep.info, rows, tmp_path / "g")} == {"label_trust.png"}
