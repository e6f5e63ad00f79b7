"""Sweeps without training whose report has every section, and names that would do harm as HTML."""

from __future__ import annotations

from pathlib import Path

from platform.core.row import Row
from platform.report.html.report_page import write_report
from platform.report.judge.comparison import of_sweep
from platform.report.judge.judgement import Judgement, judge
from platform.report.prediction_files import write_predictions
from tests.report.fake_sweep import FakeSweep

HOSTILE = '<img src=x onerror="alert(1)">&amp;"$\\frac{'
METHODS = ["supervised", HOSTILE, "clid_mu"]
CLASSES = ["0", "<b>one</b>", "2$"]
PREDICTIONS = {
    "classes": CLASSES,
    "confusion": [[0, 0, 30], [0, 1, 10], [1, 1, 40], [2, 0, 4], [2, 2, 36]],
    "bins": [[0, 0, 0.0]] * 13 + [[60, 50, 54.0], [60, 56, 58.0]],
}
STAGES = ("stem", "stage1", "head")


def made_rows(sweep: FakeSweep) -> list[Row]:
    """Its rows, ended, with diagnostics of every kind; values differ between trials."""
    rows = sweep.run()
    for row in rows:
        row.params |= {"a <b>value</b>": f"<i>{row.number % 2}</i>"}
        for report in row.reports:
            level = report["test_accuracy"]
            report |= {f"diag/stage_gradient_cosine/{stage}": level / (i + 1) for i, stage in enumerate(STAGES)}
            report |= {"diag/ece": 1 - level, "diag/confidence_right": level, "diag/confidence_wrong": level / 2}
            report |= {"val_loss": 1 - level, "diag/pseudo_label_accuracy": level, "diag/mask_rate": level / 2}
            if row.method == "clid_mu":
                report |= {f"diag/weight_{g}_p{q}": q / 100 for g in ("clean", "noisy") for q in (10, 50, 90)}
                report |= {"diag/weight_auroc": level}
    return rows


def made_judgement(folder: Path) -> Judgement:
    """Three methods on three studies."""
    sweep = FakeSweep(
        folder,
        methods=METHODS,
        studies=3,
        trials=8,
        name="<b>digits</b>",
        command="python -m platform.sweep '<u>x</u>'",
    )
    rows = made_rows(sweep)
    for row in rows:
        row.predictions = PREDICTIONS if row.outcome == "completed" else None
        write_predictions(folder, row)
    return judge(of_sweep(sweep.info, rows))


def made_page(folder: Path) -> tuple[Judgement, Path]:
    judged = made_judgement(folder)
    return judged, write_report(judged, folder)
