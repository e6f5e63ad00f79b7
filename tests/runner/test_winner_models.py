"""A study's winner as a logged model: what MLflow loads classifies the test images as the trial did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import platform.sweepfile as sweepfile
from platform.core.events import SweepEnded, SweepStarted
from platform.core.row import Row
from platform.core.uri import absolute
from platform.runner.inputs import Inputs, open_inputs
from platform.runner.winner_models import WinnerModels
from platform.sweepfile import Sweep
from platform.tracking.mlflow_writer import MlflowListener
from platform.training.trial import Trial
from tests.report.fake_sweep import FakeSweep

pytestmark = pytest.mark.slow

SPACE = """\
name: mine
methods: [fixmatch]
data: {source: digits}
labels: {per_class: 4}
model: small_cnn
train: {steps: 30, batch_size: 16, evaluations: 1, compile: "off"}
search: {train.lr: {log_uniform: [1.0e-3, 0.3]}}
budget: {trials: 1, studies: 1, scheduler: none}
select: noisy_val_accuracy
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Inputs, Row, Path]:
    """A sweep, its winner trained for 30 steps, and the sweep's folder with its checkpoint."""
    folder = tmp_path_factory.mktemp("results") / "mine"
    (folder / "checkpoints").mkdir(parents=True)
    path = folder.parent / "mine.yaml"
    path.write_text(SPACE)
    sweep = sweepfile.load(path, [])
    inputs = open_inputs(sweep)
    (study,) = sweep.studies()
    plan = inputs.plans[0, 0]
    spec = study.resolve(study.start, inputs.dataset.fingerprint, plan.sha256)
    trial = Trial(spec, inputs.dataset, plan, study.method.cls)
    reports = [{"step": r.step, "evaluation": 1, "seconds": r.seconds, **r.metrics} for r in trial.reports()]
    trial.save(folder / "checkpoints" / f"{spec.key}.pt")
    row = Row(
        spec.key, "fixmatch", "fixmatch/0", 0, 0, dict(study.start), spec, "completed", 30, reports[-1]["seconds"]
    )
    row.reports = [report | {"score": report["noisy_val_accuracy"]} for report in reports]
    row.score, row.test_accuracy = row.reports[-1]["score"], reports[-1]["test_accuracy"]
    return sweep, inputs, row, folder


def test_the_logged_model_answers_as_the_trial_did(trained: Any, tmp_path: Path, monkeypatch: Any) -> None:
    import mlflow
    from mlflow import MlflowClient

    sweep, inputs, row, folder = trained
    uri = absolute(f"sqlite:///{tmp_path}/mlflow.db")
    info = FakeSweep(folder, ["fixmatch"], trials=1).info
    for _ in range(2):  # and the second time there is nothing to log
        tracker = MlflowListener(uri, folder, models=WinnerModels(sweep, inputs, folder))
        tracker.prepare()
        tracker.handle(SweepStarted(info, [row]))
        tracker.handle(SweepEnded([row]))
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("mine")
    (model,) = client.search_logged_models([experiment.experiment_id])
    (run,) = client.search_runs([experiment.experiment_id], "tags.`kurabe.kind` = 'study'")
    assert model.source_run_id == run.info.run_id and run.data.tags["kurabe.model"] == model.model_id
    assert model.status == "READY" and model.name == "fixmatch-0"
    assert {metric.key: metric.value for metric in model.metrics or []} == {
        "score": row.score,
        "test_accuracy": row.test_accuracy,
    }
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
        assert str(mlflow.register_model(f"models:/{model.model_id}", "best").version) == "1"
    finally:
        mlflow.set_tracking_uri(before)
    images = np.array(inputs.dataset.test.images)
    given = loaded.predict(images)
    assert given.shape == (len(images), 10) and np.allclose(given.sum(axis=1), 1, atol=1e-5)
    right = (given.argmax(axis=1) == inputs.dataset.test_labels).mean()
    assert right == pytest.approx(row.test_accuracy, abs=1.5 / len(images))
    assert right > 0.3  # of ten classes: it has learnt something
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 1, 8, 8)
    assert np.array_equal(loaded.input_example, images[:4])


def test_without_a_checkpoint_there_is_no_model_and_it_is_said(trained: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    sweep, inputs, row, folder = trained
    assert WinnerModels(sweep, inputs, tmp_path)(row) is None
    uri = absolute(f"sqlite:///{tmp_path}/mlflow.db")
    said: list[str] = []
    tracker = MlflowListener(uri, folder, said.append, models=WinnerModels(sweep, inputs, tmp_path))
    tracker.prepare()
    tracker.handle(SweepStarted(FakeSweep(folder, ["fixmatch"], trials=1).info, [row]))
    tracker.handle(SweepEnded([row]))
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id], "tags.`kurabe.kind` = 'study'")
    assert (
        run.data.tags["kurabe.model"] == "none: its weights were not kept, or a signal ended the sweep" and said == []
    )
    assert run.info.status == "FINISHED" and run.data.metrics["score"] == row.score
