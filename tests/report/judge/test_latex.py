"""The LaTeX tables go through LaTeX, also with names that are full of its own characters. Skipped without pdflatex."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from platform.report.judge.comparison import Comparison, open_comparison
from platform.report.judge.comparison_facts import facts
from platform.report.judge.judgement import judge
from platform.report.judge.score_tables import paper_leaderboard, paper_pairs, to_latex
from tests.report.judge.made_sweep import made_sweep
from tests.report.judge.test_score_tables import A, nasty

LATEX = shutil.which("pdflatex")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(LATEX is None, reason="pdflatex is not installed")]

DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""


def compiled(folder: Path, comparison: Comparison) -> str:
    """The log of a document with both tables; LaTeX may not read or run anything else."""
    judged = judge(comparison)
    tables = [to_latex(table, facts(comparison)) for table in (paper_leaderboard(judged), paper_pairs(judged))]
    (folder / "paper.tex").write_text(DOCUMENT % "\n".join(tables), encoding="utf-8")
    words = [str(LATEX), "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=False, timeout=120)
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert done.returncode == 0, re.findall(r"^!.*\n.*\n.*", log, re.MULTILINE)
    assert (folder / "paper.pdf").stat().st_size > 5_000
    return log


def test_the_tables_of_a_sweep_compile(tmp_path: Path) -> None:
    log = compiled(tmp_path, open_comparison([made_sweep(tmp_path / "a_b & 100%", A)]))
    assert "Missing character" not in log
    assert not re.findall(r"Overfull .hbox \(.*", log)  # wider than the page


def test_long_names_and_a_method_without_result_fit_the_page(tmp_path: Path) -> None:
    names = ["forward_correction", "confident_learning", "label_smoothing", "mean_teacher"]
    scores = {name: [0.5 + 0.05 * n, 0.52 + 0.05 * n, 0.56 + 0.04 * n] for n, name in enumerate(names)}
    log = compiled(tmp_path, open_comparison([made_sweep(tmp_path / "a", scores | {"none": [None] * 3})]))
    assert not re.findall(r"Overfull .hbox \(.*", log)


def test_names_full_of_latex_are_text(tmp_path: Path) -> None:
    assert "(/etc/passwd" not in compiled(tmp_path, nasty(tmp_path))  # a file that LaTeX reads stands in its log so
