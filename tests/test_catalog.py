"""The door that lists what can be named."""

from __future__ import annotations

from pathlib import Path

import pytest

import platform.catalog as catalog
from platform.core.registry import METHODS
from tests.sweepfile.conftest import PLUGIN


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = catalog.main(list(arguments))
    out, err = capsys.readouterr()
    return code, out, err


def test_everything_is_listed_once_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    rows = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert len({(section, name) for section, name, _ in rows}) == len(rows)
    assert [row for row in rows if not row[2]] == []
    listed = {section: {row[1] for row in rows if row[0] == section} for section in {row[0] for row in rows}}
    assert listed["methods"] == set(METHODS.names())
    assert {"digits", "parquet"} <= listed["data.source"]
    assert {"none", "symmetric", "column:NAME"} <= listed["labels.noise"]
    assert {"small_cnn", "timm:NAME"} <= listed["model"]
    assert "noisy_val_accuracy" in listed["select"]


@pytest.mark.slow
def test_every_listed_name_has_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    for line in catalog.listing():
        if line.name != "timm:NAME":
            code, out, err = run(capsys, line.name)
            assert (code, err) == (0, ""), line
            assert len(out.splitlines()) >= 3


def test_a_method_shows_its_hyper_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "layermatch")
    rows = [line.split("\t") for line in out.splitlines()]
    assert ["gate", "0.0", "a number from 0 to 1", "choice [0.0, 0.1, 0.3, 1.0]"] in [row[:4] for row in rows]
    assert "Grad-ReLU" in out
    assert {row[0] for row in rows if len(row) == 5} >= set(METHODS.get("layermatch").Hyper.model_fields)


def test_a_method_says_where_a_hyper_parameter_acts(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "layermatch")
    helps = {line.split("\t")[0]: line.split("\t")[-1] for line in out.splitlines()}
    assert helps["gate_conflict"].endswith("; acts where gate_mode is conflict")
    assert helps["centre_temperature"] == "proto: temperature; acts where centre_mode is proto or proto_rows"
    assert "acts where" not in helps["lambda_u"]


def test_a_source_shows_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "parquet")
    assert "path\t(needed)\t" in out
    assert "on_bad_image\tstop\tone of stop, skip" in out


def test_training_settings_show_what_auto_searches(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "train")
    assert "lr\t0.03\ta positive number\tlog_uniform [0.001, 0.3]\tpeak learning rate" in out


def test_a_plugin_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    code, out, _ = run(capsys, str(path))
    assert code == 0
    assert "depth\t2\ta whole number from 1 to 8\t\thow much of it" in out


def test_unknown_names_get_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "fixmach")
    assert (code, out) == (2, "")
    assert err.startswith("nothing is called 'fixmach'\n    did you mean: fixmatch")


def test_a_plugin_that_does_not_import(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("1 / 0\n")
    code, _, err = run(capsys, str(path))
    assert code == 2
    assert "does not import" in err
    assert "ZeroDivisionError" in err


def test_tables_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    catalog.show_listing(catalog.listing(), terminal=True)
    catalog.show_page(catalog.page("layermatch"), terminal=True)
    out, _ = capsys.readouterr()
    assert "\t" not in out
    assert "in a sweep file" in out
    assert "choice [0.0, 0.1, 0.3, 1.0]" in out
