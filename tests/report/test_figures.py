"""Figures are drawn for every kind of table; people have looked at them."""

from __future__ import annotations

from pathlib import Path

from platform.report import figures
from tests.report.fake_sweep import FakeSweep

PNG = b"\x89PNG"


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
    assert len(axes["only some"].lines) == 4 + ringed


def test_nothing_completed(tmp_path: Path) -> None:
    sweep = FakeSweep(tmp_path / "digits", methods=["a", "b"], trials=2)
    rows = sweep.rows()
    for row in rows:
        row.outcome = "failed"
    assert figures.draw_all(sweep.info, rows, tmp_path / "figures") == []
