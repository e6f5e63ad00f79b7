"""One trial after another in one process, played by hand: what is left behind, memory that runs out, a stop."""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.runner.guards import worker_state
from platform.runner.guards.worker_state import resident
from platform.runner.messages import Assignment, PlugIn, Progress, progress_of
from platform.runner.tune.trainable import TrialTrainable, _selectable
from platform.training.trial_data import TrialData
from tests.runner.sweeps import WORKPLACE


def test_no_rule_ever_sees_the_test_set():
    report = {
        "step": 5.0,
        "noisy_val_accuracy": 0.5,
        "test_accuracy": 0.9,
        "test_accuracy_clid_5": 0.9,
        "val_loss": 1.0,
    }
    assert _selectable(report) == {"step": 5.0, "noisy_val_accuracy": 0.5, "val_loss": 1.0}


HEAD = '''
import torch
from methods.base import Method, Terms
kept = []

class Plug(Method):
    """A plug-in."""
    accumulates = True

    def loss(self, batch):
        x, y = batch.labelled.x, batch.labelled.y
        {body}
        return Terms(labelled=torch.nn.functional.cross_entropy(self.model(x), y))
'''

CLEAN = HEAD.format(body="pass")
DIRT = """
import os, random, sys, warnings, numpy, torch
random.seed(1); numpy.random.seed(1); torch.manual_seed(1)
torch.set_default_dtype(torch.float64); torch.set_default_device("meta"); torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True, warn_only=True); torch.autograd.set_detect_anomaly(True)
torch.set_num_threads(2); torch.backends.cudnn.benchmark = True; torch.set_flush_denormal(True)
os.environ["DIRTY"] = "1"; os.environ["HOME"] = "/dirty"; os.chdir("/"); sys.path.insert(0, "/dirty")
sys.setrecursionlimit(5000); warnings.simplefilter("error"); numpy.seterr(all="raise")
"""
DIRTY = HEAD.format(body=DIRT.replace("\n", "\n        ") + "raise ArithmeticError('and it fails, too')")
RANDOM = HEAD.format(
    body="import random, numpy; x = x * (1 + 0.1 * (random.random() + numpy.random.rand() + torch.rand(())))"
)
LEAKY = HEAD.format(body="kept.append(torch.ones(12 * 2**20)) if batch.step == 0 else None")
HUNGRY = HEAD.format(
    body="""if len(y) > 4:
            raise {error}"""
)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`play(source)` runs a trial to its end in the process so far, or in a `new` one; the results of its steps."""
    monkeypatch.setattr("platform.runner.tune.trainable.die_with_parent", lambda: None)
    monkeypatch.setattr("platform.training.trial_data.PROCESS_DATA", TrialData())
    monkeypatch.setattr(ray, "get_actor", lambda name: None)
    (tmp_path / "TOKEN").write_text("here")
    threads = torch.get_num_threads()
    held: dict[str, TrialTrainable] = {}

    def run(
        source: str, new: bool = False, split: bool = False, most: int = 99, key: str = "", **train: Any
    ) -> list[Progress]:
        spec = TrialSpec(
            method="plug",
            hyper={"model_ema": 0.9},
            model="small_cnn",
            train=TrainSettings(**{"steps": 6, "evaluations": 3, "batch_size": 8} | train),
            data=DataSettings(source="digits", limit=200),
            labels=LabelSettings(per_class=4),
            seeds=dict.fromkeys(AXES, 1),
        )
        plug_in = PlugIn(source=source, path=str(tmp_path / "plug.py"))
        workplace = WORKPLACE.model_copy(update={"checkpoints": tmp_path, "folder": str(tmp_path)})
        number = f"{len(list(tmp_path.iterdir())):012x}"
        (tmp_path / number).touch()
        assignment = Assignment(
            key=key or number, study="plug/0", spec=spec, workplace=workplace, may_split=split, plug_in=plug_in
        )
        if new or "it" not in held:
            held["it"] = TrialTrainable(assignment.to_config())
        else:
            assert held["it"].reset(assignment.to_config())
        results: list[Progress] = []
        while not results or not (results[-1].outcome or results[-1].outgrown or len(results) == most):
            result = held["it"].step()
            results.append(progress_of(result))
            assert result["done"] == (results[-1].outcome is not None)
        return results

    yield run
    torch.set_num_threads(threads)
    gc.unfreeze()


def scores(results: list[Progress]) -> list[dict[str, float]]:
    return [{k: v for k, v in r.reports[-1].items() if "second" not in k} for r in results]


def test_a_trial_after_a_dirty_one_is_that_of_a_fresh_process(play):
    fresh = play(RANDOM)
    dirty = play(DIRTY)
    assert dirty[-1].outcome == "failed" and "and it fails, too" in dirty[-1].error
    after = play(RANDOM)
    assert [r.outcome for r in after] == [None, None, "completed"]
    assert json.dumps(scores(after)) == json.dumps(scores(fresh))
    assert torch.get_default_dtype() == torch.float32 and not torch.is_anomaly_enabled()
    assert not torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1


def test_everything_a_plug_in_can_switch_is_switched_back(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/clean")

    def state() -> list[Any]:
        places = [os.environ.get("DIRTY"), os.environ["HOME"], os.getcwd(), list(sys.path), sys.getrecursionlimit()]
        return [worker_state._switches(), *places, list(warnings.filters)]

    fresh, before = worker_state.ProcessState(), state()
    fresh.restore(5)
    drawn = (random.random(), np.random.rand(), torch.rand(()).item())
    exec(DIRT, {})
    assert all(a != b for a, b in zip(before, state(), strict=True))
    fresh.restore(5)
    assert state() == before and (random.random(), np.random.rand(), torch.rand(()).item()) == drawn


@pytest.mark.slow
def test_a_process_that_holds_more_and_more_is_replaced(play, monkeypatch):
    monkeypatch.setattr(worker_state, "GROWTH", 144 * 2**20)  # bytes; each trial of the plug-in keeps 48 MiB
    outcomes = []
    for _ in range(12):
        outcomes.append(play(LEAKY)[-1])
        if outcomes[-1].outgrown:
            break
    assert outcomes[-1].outgrown and len(outcomes) > 3, "a process that leaks was kept"
    assert outcomes[-1].outcome is None  # the trial itself is to be run elsewhere
    assert play(CLEAN, new=True)[-1].outcome == "completed"


@pytest.mark.slow
def test_many_short_trials_leave_memory_flat(play):
    for _ in range(5):
        play(CLEAN)
    before = resident()
    for _ in range(12):
        play(CLEAN)
    assert resident() - before < 16 * 2**20


OUT = "torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 MiB')"


@pytest.mark.parametrize(
    ("error", "kind"),
    [(OUT, "out of memory (device)"), ("MemoryError()", "out of memory (host)"),
     ("torch.empty(2**46)", "out of memory (host)")],  # raises by itself: more than any machine has
)  # fmt: skip
def test_memory_that_runs_out_is_reported_as_such_and_never_retried_unasked(play, error, kind):
    (result,) = play(HUNGRY.format(error=error))
    assert result.outcome == "failed" and result.error.startswith(f"{kind}: ")
    assert "retry.out_of_memory=accumulate" in result.error and "Traceback" in result.error
    assert result.parts == 1


def test_it_is_tried_again_in_parts_where_asked(play):
    results = play(HUNGRY.format(error=OUT), split=True, batch_size=16)
    assert [r.outcome for r in results] == [None, None, "completed"]
    assert {r.parts for r in results} == {4} and {r.reports[-1]["accumulate"] for r in results} == {4.0}


def test_it_goes_on_from_its_checkpoint_in_parts(play):
    late = HUNGRY.replace("len(y) > 4", "len(y) > 4 and batch.step >= 4")
    results = play(late.format(error=OUT), split=True, batch_size=8)
    assert [r.parts for r in results] == [1, 1, 2, 2]  # the last evaluation of before is sent once more
    assert [r.reports[-1]["evaluation"] for r in results] == [1, 2, 2, 3] and results[-1].outcome == "completed"


@pytest.mark.parametrize(
    ("source", "train", "reason"),
    [
        (HUNGRY.replace("accumulates = True", ""), {}, "looks at a batch as a whole"),
        (HUNGRY.replace("len(y) > 4", "True"), {"batch_size": 16}, "split in 8 parts, its batches did not fit either"),
        (HUNGRY.replace("> 4", "> 0"), {"batch_size": 6}, "6 labelled images of a step cannot be split in 4"),
    ],
)
def test_where_it_cannot_be_split_the_reason_is_in_the_row(play, source, train, reason):
    (result,) = play(source.replace("{error}", OUT), split=True, **train)
    assert result.outcome == "failed" and result.error.startswith("out of memory (device): ")
    assert reason in result.error


def test_a_plug_in_that_ends_the_process_ends_its_trial_alone(play):
    (result,) = play(HEAD.format(body="raise SystemExit(3)"))
    assert result.outcome == "failed" and "SystemExit" in result.error


def test_asked_to_stop_it_saves_between_two_evaluations_and_goes_on_there(play, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.runner.tune.checkpoint_store.LOOK_SECONDS", 0.0)
    stop = HEAD.format(body=f"open({str(tmp_path / 'STOP')!r}, 'w').close() if batch.step == 2 else None")
    results = play(stop, most=2, key="a" * 12)
    assert [r.reports[-1]["evaluation"] for r in results] == [1, 1] and results[-1].outcome is None
    assert torch.load(tmp_path / f"{'a' * 12}.pt", weights_only=True)["step"] == 3  # evaluations are at 2, 4, 6
    (tmp_path / "STOP").unlink()
    later = play(stop, key="a" * 12)
    assert later[-1].outcome == "completed"
    assert json.dumps(scores(later[1:])) == json.dumps(scores(play(CLEAN))[1:])


def test_a_completed_trial_brings_its_test_predictions_also_when_it_comes_back(play):
    results = play(CLEAN, key="b" * 12)
    assert [r.predictions for r in results[:-1]] == [None, None]
    counts = results[-1].predictions
    images = sum(count for _, _, count in counts["confusion"])
    right = sum(count for label, guess, count in counts["confusion"] if label == guess)
    assert right / images == pytest.approx(results[-1].reports[-1]["test_accuracy"])
    assert sum(found[0] for found in counts["bins"]) == images and len(counts["classes"]) == 10
    (again,) = play(CLEAN, new=True, key="b" * 12)
    assert again.outcome == "completed" and again.predictions == counts
