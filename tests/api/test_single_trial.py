"""kurabe.trial: one trial of a sweep file in this process, and the words for what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kurabe
from platform.core.ledger import Ledger
from platform.core.row import Row
from tests.report.fake_sweep import FakeSweep

SPACE = """
name: two
methods: [supervised, fixmatch]
data: {source: digits, limit: 300}
labels: {per_class: 4}
train: {steps: 6, evaluations: 2, batch_size: 16}
search:
  train.lr: {log_uniform: [1e-3, 0.3]}
  fixmatch.threshold: {uniform: [0.5, 0.99]}
budget: {studies: 2, trials: 2}
"""


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "two.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    return "two.yaml"


def test_it_is_trial_0_of_the_sweep_with_what_was_changed(space: str) -> None:
    trial = kurabe.trial(space, method="fixmatch", study=1, threshold=0.8, lr=0.02, **{"train.momentum": 0.5})
    assert (trial.spec.hyper["threshold"], trial.spec.train.lr, trial.spec.train.momentum) == (0.8, 0.02, 0.5)
    assert trial.spec.method == "fixmatch" and trial.spec.train.steps == 6
    plain = kurabe.trial(space, "train.steps=4", method="fixmatch").spec
    assert plain.train.steps == 4 and plain.seeds["order"] != trial.spec.seeds["order"]
    assert plain.hyper["threshold"] == 0.95 and plain.train.lr == 0.03  # the defaults


def test_it_trains_here_step_by_step_and_to_each_evaluation(space: str) -> None:
    trial = kurabe.trial(space, method="supervised")
    first = next(trial.steps())
    assert first.step == 1 and first.losses["labelled"] > 0
    assert [(report.step, report.outcome) for report in trial.reports()] == [(3, None), (6, "completed")]


@pytest.mark.parametrize(
    ("arguments", "settings", "words"),
    [
        ([], {"method": "fixmach"}, ["no method 'fixmach'", "did you mean: fixmatch", "kurabe catalog"]),
        ([], {}, ["which of its methods? supervised, fixmatch", 'method="supervised"']),
        ([], {"method": "fixmatch", "study": 2}, ["no study 2; its studies are 0 to 1", "budget.studies=3"]),
        ([], {"method": "fixmatch", "thresold": 1}, ["did you mean: threshold", "kurabe catalog fixmatch"]),
        ([], {"method": "fixmatch", "threshold": 7}, ["threshold: input should be less than", "not 7"]),
        (["train.stps=3"], {"method": "fixmatch"}, ["train.stps: no such key", "did you mean: steps"]),
        (["data.source=digts"], {"method": "fixmatch"}, ["did you mean: digits"]),
    ],
)
def test_what_is_wrong_is_said(space: str, arguments: list[str], settings: dict[str, object], words: list[str]) -> None:
    with pytest.raises(kurabe.UserError) as raised:
        kurabe.trial(space, *arguments, **settings)
    assert [word for word in words if word not in str(raised.value)] == []
    assert "python -m platform" not in str(raised.value)


def test_predictions_of_a_winner_are_those_that_its_test_accuracy_counted(space: str, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "two"
    folder.mkdir(parents=True)
    trial = kurabe.trial(space, method="supervised")
    *_, last = trial.reports()
    sweep = FakeSweep(folder, methods=["supervised"], trials=1)
    spec = trial.spec
    row = Row(spec.key, "supervised", "supervised/0", 0, 0, {"train.lr": spec.train.lr}, spec)
    ledger = Ledger(folder, sweep.info.resolved)
    sweep.start(row, ledger)
    sweep.report(
        row, {"step": 6.0, "seconds": 1.0, "score": 0.5, "test_accuracy": last.metrics["test_accuracy"]}, ledger
    )
    sweep.end(row, ledger)
    ledger.close()
    with pytest.raises(kurabe.UserError, match="the state of its winner \\(trial 0\\) is not kept"):
        _ = kurabe.load(folder).predictions
    (folder / "checkpoints").mkdir()
    trial.save(folder / "checkpoints" / f"{spec.key}.pt")
    found = kurabe.load(folder).predictions
    assert len(found) == len(trial.dataset.test) and found.image.tolist() == list(range(len(found)))
    assert np.array_equal(found.label, trial.dataset.test_labels)
    assert found.correct.mean() == pytest.approx(last.metrics["test_accuracy"])
    assert found.confidence.between(0.1, 1).all() and set(found.study) == {"supervised/0"}
