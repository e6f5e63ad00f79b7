"""Tables as Markdown, LaTeX, CSV and on the terminal: what every table says, what is bold, names that are no markup."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

import platform.report.judge.comparison_files as comparison_files
from platform.report.judge.comparison import Comparison, open_comparison
from platform.report.judge.escaping import html, latex, markdown
from platform.report.judge.judgement import judge
from platform.report.judge.score_tables import leaderboard_table, short_leaderboard, to_terminal
from tests.report.judge.made_sweep import made_sweep

A = {"supervised": [0.80, 0.82, 0.81], "fixmatch": [0.90, 0.93, 0.92], "pseudo_label": [0.91, 0.90, 0.93]}
NASTY = [
    "<script>alert(1)</script>",
    r"\input{/etc/passwd}",
    "100% $x_1^2$ & ~#{}",
    "a|b`c`*d*",
    "[x](http://y)",
    "two\nlines",
    "$\\frac{",
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison_files, "drawings", lambda judged: [])
        comparison_files.write_comparison(judge(open_comparison([made_sweep(folder / "a", A)])), folder / "out")
    return folder / "out"


def nasty(tmp_path: Path) -> Comparison:
    lines = ["method,study,seed,score,cost"]
    for place, name in enumerate(NASTY):
        quoted = '"' + name.replace('"', '""') + '"'
        lines += [f"{quoted},{study},0,{0.5 + 0.05 * place + 0.01 * study * place}," for study in range(3)]
    (tmp_path / "n.csv").write_text("\n".join(lines) + "\n")
    return open_comparison([tmp_path / "n.csv"])


@pytest.mark.parametrize(
    "fact",
    [
        "3 studies per method, each 3 trials of at most 100 steps",
        "seeds: 0, 1, 2",
        "noisy_val_accuracy",
        "training used 40 labels, selection 144 labels",
        "data hash dddddddddddd",
        "study 2 a20000000000",
    ],
)
@pytest.mark.parametrize("name", ["leaderboard.md", "leaderboard.csv", "leaderboard.tex", "pairs.csv", "pairs.tex"])
def test_every_table_says_how_its_numbers_came_about(written: Path, name: str, fact: str):
    text = (written / name).read_text()
    visible = re.sub(r"^%.*$", "", text, flags=re.M) if name.endswith(".tex") else text
    assert fact.replace("_", r"\_") in visible if name.endswith(".tex") else fact in visible


def test_the_pairs_of_the_markdown_say_it_again(written: Path):
    assert (written / "leaderboard.md").read_text().count("data hash dddddddddddd") == 2


def test_bold_is_the_best_and_what_is_not_significantly_worse(written: Path):
    text = (written / "leaderboard.md").read_text()
    board = text.partition("## Leaderboard")[2].partition("## Pairs")[0]
    assert "| **fixmatch** | **0.9167 [" in board and "| **pseudo_label** | **0.9133 [" in board
    assert "| supervised | 0.8100 [" in board
    paper = (written / "leaderboard.tex").read_text()
    assert r"\textbf{fixmatch} & \textbf{0.9167 [" in paper and r"\textbf{pseudo\_label}" in paper
    assert "\nsupervised & 0.8100 [" in paper


def test_the_csv_has_the_numbers_of_the_judgement(written: Path, tmp_path: Path):
    records = list(csv.DictReader(io.StringIO((written / "leaderboard.csv").read_text())))
    judged = judge(open_comparison([made_sweep(tmp_path / "a", A)]))
    for record, place in zip(records, judged.places, strict=True):
        assert record["method"] == place.method.name and float(record["mean"]) == place.mean.value
        assert float(record["mean_low"]) == place.mean.low and float(record["iqm_high"]) == place.quartiles.high
        assert record["median_low"] == "" and record["not_significantly_worse"] == str(place.leading)
    pairs = list(csv.DictReader(io.StringIO((written / "pairs.csv").read_text())))
    assert [float(record["p_holm"]) for record in pairs] == [pair.holm for pair in judged.differences]


def test_booktabs_and_balanced_braces(written: Path):
    for name in ("leaderboard.tex", "pairs.tex"):
        text = (written / name).read_text()
        assert all(rf"\{rule}rule" in text for rule in ("top", "mid", "bottom")) and "|" not in text
        assert balanced(text)
        head, *rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)[1]
        assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1 for line in (head, *rows))


def balanced(text: str) -> bool:
    plain = re.sub(r"\\[{}]|^%.*$", "", text, flags=re.M)
    depth = 0
    for character in plain:
        depth += (character == "{") - (character == "}")
        assert depth >= 0
    return depth == 0


def test_names_with_markup_are_text_everywhere(tmp_path: Path):
    out = tmp_path / "out"
    comparison_files.write_comparison(judge(nasty(tmp_path)), out)
    text, paper = (out / "leaderboard.md").read_text(), (out / "leaderboard.tex").read_text()
    assert "<script>" not in text and "&lt;script&gt;" in text and "](http" not in text and r"a\|b\`c\`" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables[:9]} == {len(re.findall(r"\|", tables[0]))}
    assert r"\input{" not in paper and r"\textbackslash{}input\{/etc/passwd\}" in paper and "two lines" in paper
    assert r"100\% \$x\_1\textasciicircum{}2\$ \& \textasciitilde{}\#\{\}" in paper and balanced(paper)
    assert "<script>" not in (out / "figures" / "intervals.svg").read_text()


def test_escapes():
    assert latex("a_b & 5 %") == r"a\_b \& 5 \%" and html('<a b="c">&') == "&lt;a b=&quot;c&quot;&gt;&amp;"
    assert markdown("pseudo_label _x_ [0.1, 0.2]") == r"pseudo_label \_x\_ [0.1, 0.2]"


def test_the_terminals_table_fits_80_columns(tmp_path: Path):
    methods = {f"a_rather_long_method_name_{i}": [0.8, 0.82 + 0.01 * i, 0.9] for i in range(3)}
    judged = judge(open_comparison([made_sweep(tmp_path / "a", methods | {"broken": [None] * 3})]))
    console = Console(width=80, file=io.StringIO())
    console.print(to_terminal(short_leaderboard(judged)))
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown and "no result" in shown


def test_a_row_says_why_there_is_no_result(tmp_path: Path):
    judged = judge(open_comparison([made_sweep(tmp_path / "a", A | {"broken": [None] * 3})]))
    last = [cell.text for cell in leaderboard_table(judged).rows[-1]]
    assert last[0] == "broken" and last[1] == "no result: no completed trial: 9 diverged"


def test_below_three_studies_the_table_has_words_instead_of_intervals(tmp_path: Path):
    judged = judge(open_comparison([made_sweep(tmp_path / "a", {m: v[:1] for m, v in A.items()})]))
    assert leaderboard_table(judged).rows[0][1].text == "0.9100 (one block)"
