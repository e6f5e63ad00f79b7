"""results/explore.ipynb runs from its first cell to its last, in another folder: a sweep, tables, figures, a trial."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.test_kurabe import installed

NOTEBOOK = Path(__file__).parents[2] / "results" / "explore.ipynb"
MOST_BYTES = 300_000


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_notebook_runs_in_another_folder(tmp_path: Path, short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (installed(tmp_path) | {"TMPDIR": str(short_tmp)}).items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()  # raises where a cell does
    shown = {kind for cell in notebook.cells for output in cell.get("outputs", ()) for kind in output.get("data", ())}
    assert {"text/html", "image/png"} <= shown
    texts = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "12 completed in" in texts and "did you mean: fixmatch" in texts and "40 " in texts
    (database,) = short_tmp.glob("*/results/mlflow.db")  # MLflow followed, in the folder that the sweep was started in
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from runs where lifecycle_stage = 'active'").fetchone()[0] >= 12
    assert not (NOTEBOOK.parent / "few_labels").exists() and not (tmp_path / "results").exists()


def test_the_notebook_is_kept_with_its_outputs_and_without_this_machine() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < MOST_BYTES
    code = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/png" in output.get("data", ()) for cell in code for output in cell.outputs) == 2
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert "/home/" not in text and "site-packages" not in text
