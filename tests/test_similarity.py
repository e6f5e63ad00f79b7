"""Whose representations are alike: two sweeps made by hand, read back through the door."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from platform import similarity
from platform.core.events import TrialEnded, TrialReported, TrialStarted
from platform.core.ledger import Ledger, read_rows
from platform.core.registry import METHODS
from platform.core.row import Row
from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.training import checkpoint
from platform.training.trial import Trial
from platform.training.trial_data import PROCESS_DATA

RESOLVED = {"name": "t", "methods": ["supervised", "fixmatch"], "select": "noisy_val_accuracy"}


def trained(folder: Path, ledger: Ledger, method: str, study: int, **changes: object) -> Row:
    """A trial of three steps that ended as winner of its study."""
    hyper = METHODS.get(method).Hyper().model_dump()
    spec = TrialSpec(
        method=method,
        hyper=hyper,
        model=str(changes.get("model", "small_cnn")),
        train=TrainSettings(steps=3, batch_size=8, evaluations=1),
        data=DataSettings(source="digits", limit=int(str(changes.get("limit", 200)))),
        labels=LabelSettings(per_class=4),
        seeds=dict.fromkeys(AXES, study),
    )
    dataset, plan = PROCESS_DATA.load(spec)
    spec = spec.model_copy(update={"data_hash": dataset.fingerprint, "labels_hash": plan.sha256})
    trial = Trial(spec, dataset, plan, METHODS.get(method))
    row = Row(spec.key, method, f"{method}/{study}", study, 0, {}, spec)
    ledger.handle(TrialStarted(row))
    for report in trial.reports():
        ledger.handle(TrialReported(row, report.metrics))
    trial.save(folder / "checkpoints" / f"{spec.key}.pt", {})
    row.outcome, row.score = "completed", 0.5
    ledger.handle(TrialEnded(row))
    return row


def sweep(folder: Path, *studies: tuple[str, int], **changes: object) -> list[Row]:
    (folder / "checkpoints").mkdir(parents=True)
    ledger = Ledger(folder, RESOLVED)
    rows = [trained(folder, ledger, *study, **changes) for study in studies]
    ledger.close()
    return rows


def scramble(state: Any) -> None:
    if isinstance(state, dict):
        for value in state.values():
            scramble(value)
    elif isinstance(state, torch.Tensor) and state.is_floating_point() and state.ndim > 1:
        state.copy_(torch.randn(state.shape, generator=torch.Generator().manual_seed(5)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    sweep(results / "a", ("supervised", 1), ("fixmatch", 1))
    sweep(results / "b", ("supervised", 1), limit=150)
    sweep(results / "c", ("supervised", 1), model="timm:test_vit:patch=2")
    return results


def refused(capsys: pytest.CaptureFixture[str], *folders: Path) -> str:
    assert similarity.main([str(folder) for folder in folders]) == 2
    words = capsys.readouterr()
    assert words.out == "" and words.err.endswith("nothing was compared.\n")
    return words.err


def test_winners_of_one_sweep_pair_by_pair(made, capsys):
    before = (made / "a" / "ledger.jsonl").read_bytes()
    assert similarity.main([str(made / "a")]) == 0
    title, head, *lines = capsys.readouterr().out.splitlines()
    test_images = int(re.findall(r"on (\d+) test images", title)[0])
    assert 0 < test_images <= similarity.IMAGES
    assert head.split("\t") == ["one", "other", "stem", "stage1", "stage2", "features"]
    assert len(lines) == 1
    one, other, *values = lines[0].split("\t")
    assert (one, other) == ("supervised/1", "fixmatch/1")
    assert all(0 < float(value) < 1.00005 for value in values) and float(values[-1]) < 0.9999
    assert (made / "a" / "ledger.jsonl").read_bytes() == before


def test_a_sweep_beside_its_copy_and_a_driver_that_still_holds_it(made, tmp_path):
    shutil.copytree(made / "a", tmp_path / "copy")
    holder = Ledger(made / "a", RESOLVED)
    try:
        found, _ = similarity.compare([made / "a", tmp_path / "copy"])
    finally:
        holder.close()
    by_name = {(pair.one, pair.other): pair.cka for pair in found}
    assert len(by_name) == 4
    assert by_name["a:fixmatch/1", "copy:fixmatch/1"] == pytest.approx(
        dict.fromkeys(("stem", "stage1", "stage2", "features"), 1)
    )
    assert by_name["a:fixmatch/1", "copy:supervised/1"] == pytest.approx(by_name["a:supervised/1", "copy:fixmatch/1"])


def test_of_an_ensemble_the_first_network(tmp_path):
    """DivideMix warms its first network up by plain training, on the same batches: the averages are the same too."""
    sweep(tmp_path / "a", ("dividemix", 1), ("supervised", 1), ("fixmatch", 1))
    (warm, other, _), _ = similarity.compare([tmp_path / "a"])
    assert warm.cka == pytest.approx(dict.fromkeys(("stem", "stage1", "stage2", "features"), 1), abs=1e-9)
    assert 0 < other.cka["features"] < 0.9999


def test_it_is_the_trained_and_evaluated_model(made, tmp_path):
    """Other weights in the checkpoint, another likeness: nothing comes from a fresh model."""
    shutil.copytree(made / "a", tmp_path / "changed")
    for path in (tmp_path / "changed" / "checkpoints").iterdir():
        content = torch.load(path, weights_only=True)
        scramble(content["method"])
        checkpoint.write(path, content["key"], content)
    found, _ = similarity.compare([made / "a", tmp_path / "changed"])
    same_study = next(p for p in found if p.one == "a:supervised/1" and p.other == "changed:supervised/1")
    assert same_study.cka["features"] < 0.99


def test_rows_are_read_as_the_ledger_holds_them_and_a_torn_line_stays(made, tmp_path):
    path = Path(shutil.copy(made / "a" / "ledger.jsonl", tmp_path))
    with path.open("ab") as file:
        file.write(b'{"event": "repor')
    before = path.read_bytes()
    resolved, rows = read_rows(path)
    assert resolved == RESOLVED and path.read_bytes() == before
    holder = Ledger(tmp_path, RESOLVED)
    assert holder.rows == rows and len(rows) == 2
    holder.close()


def test_no_sweep_there(made, capsys):
    said = refused(capsys, made / "aa")
    assert "no such folder" in said and "did you mean: a" in said
    assert f"python -m platform.similarity {made / 'a'}" in said
    said = refused(capsys, made / "a" / "checkpoints")
    assert "no ledger.jsonl" in said and "python -m platform.sweep SPACE.yaml" in said


def test_no_winner(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    Ledger(tmp_path / "a", RESOLVED).close()
    said = refused(capsys, tmp_path / "a")
    assert "no study has a winner" in said and f"python -m platform.sweep {tmp_path / 'a' / 'sweep.yaml'}" in said


def test_no_checkpoint(made, tmp_path, capsys):
    shutil.copytree(made / "a", tmp_path / "a")
    shutil.rmtree(tmp_path / "a" / "checkpoints")
    said = refused(capsys, tmp_path / "a")
    assert "supervised/1" in said and "fixmatch/1" in said and "--fresh" in said and "2 errors" in said


def test_half_a_checkpoint(made, tmp_path, capsys):
    shutil.copytree(made / "a", tmp_path / "a")
    for path in (tmp_path / "a" / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    assert "only half of one" in refused(capsys, tmp_path / "a")


def test_one_winner_alone(made, capsys):
    said = refused(capsys, made / "b")
    assert "only one winner (supervised/1)" in said and "results/OTHER" in said


def test_other_data(made, capsys):
    said = refused(capsys, made / "a", made / "b")
    assert "b:supervised/1: other data than that of a:supervised/1" in said and f"similarity {made / 'a'}" in said


def test_other_stages(made, capsys):
    said = refused(capsys, made / "a", made / "c")
    assert (
        "small_cnn has stem, stage1, stage2, features" in said
        and "timm:test_vit:patch=2 has" in said
        and "`model`" in said
    )


def test_three_sweeps(made, capsys):
    assert "one or two" in refused(capsys, made / "a", made / "b", made / "c")
