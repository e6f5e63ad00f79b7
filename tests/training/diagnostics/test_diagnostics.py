"""Diagnostics of a trial: right by the long way, in words for each name, and without a trace on the training."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods.parts.centres import Centres
from platform.conformance import Subject
from platform.conformance.toy import ToyBatches, ToyModel, make_method, make_optimizer, train
from platform.conformance.trial_checks import CONVOLUTIONAL, TRANSFORMER, label_plan, trial
from platform.core.registry import METHODS
from platform.core.spec import TrainSettings
from platform.data.dataset import Dataset, LabelPlan
from platform.models import build
from platform.training.diagnostics.calibration import calibration
from platform.training.diagnostics.drift import Drift
from platform.training.diagnostics.features import linear_cka
from platform.training.diagnostics.names import TABLE, meaning
from platform.training.diagnostics.stage_gradients import stage_gradients, stages
from platform.training.trial import Trial
from tests.training.conftest import make_spec


def numbers(reports: list) -> list[dict[str, str]]:
    """What training made of it: everything but diagnostics and speed, to the last digit."""
    return [
        {k: repr(v) for k, v in r.metrics.items() if not k.startswith("diag/") and k != "images_per_second"}
        for r in reports
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["layermatch", "clid_mu"])
def test_looking_changes_nothing(name: str) -> None:
    runs = {}
    for level in ("off", "full"):
        one = trial(Subject.of(name), diagnostics=level)
        runs[level] = numbers(list(one.reports()))
        weights = [p.tolist() for p in one.method.parameters()]
        runs[level].append(weights)
    assert runs["off"] == runs["full"]


def test_dropout_in_the_probe_leaves_the_random_states_alone() -> None:
    model = build("timm:test_vit:patch=2", (1, 8, 8), 4, 0)
    model.body.blocks[0].attn.proj_drop = torch.nn.Dropout(0.5)
    x, y = torch.randn(6, 1, 8, 8), torch.arange(6) % 4
    model.eval()
    before = torch.get_rng_state()
    stage_gradients(model, (x, y), (x, x, y), contextlib.nullcontext())
    assert torch.equal(torch.get_rng_state(), before) and not any(m.training for m in model.modules())


def test_levels(dataset: Dataset, plan: LabelPlan) -> None:
    found = {}
    for level in ("off", "cheap", "full"):
        one = Trial(make_spec("fixmatch", METHODS.get("fixmatch").Hyper().model_dump(), diagnostics=level, steps=2),
                    dataset, plan, METHODS.get("fixmatch"))  # fmt: skip
        (report, *_) = one.reports()
        found[level] = {k.removeprefix("diag/") for k in report.metrics if k.startswith("diag/")}
    assert found["off"] < found["cheap"] < found["full"]
    assert {"ece", "head_drift", "head_gradient_cosine"} <= found["cheap"] - found["off"]
    assert all(meaning(name).cost == "full" for name in found["full"] - found["cheap"])
    documented = {name.partition("/")[0] for name, entry in TABLE.items() if entry.cost == "full"}
    assert {name.partition("/")[0] for name in found["full"] - found["cheap"]} == documented


def test_the_level_is_no_part_of_a_trials_key() -> None:
    keys = {make_spec(diagnostics=level).key for level in ("off", "cheap", "full")}
    assert len(keys) == 1
    assert make_spec(steps=13).key not in keys


@pytest.mark.parametrize(("saved", "loaded"), [("off", "full"), ("full", "off"), ("cheap", "cheap")])
def test_a_checkpoint_fits_whatever_was_looked_at(saved: str, loaded: str, tmp_path: Path) -> None:
    subject = Subject.of("layermatch")
    first, second = trial(subject, diagnostics=saved), trial(subject, diagnostics=loaded)
    first.advance(3)
    first.save(tmp_path / "a.pt")
    second.load(tmp_path / "a.pt")
    ours, theirs = list(second.reports()), list(first.reports())
    assert numbers(ours) == numbers(theirs)
    if saved == loaded:
        assert str(ours[0].metrics["diag/head_drift"]) == str(theirs[0].metrics["diag/head_drift"])


@pytest.mark.parametrize("name", METHODS.names())
def test_every_name_that_a_method_reports_is_explained(name: str) -> None:
    """Names that only one method has may be explained in its own file."""
    subject = Subject.of(name)
    method = make_method(subject.cls, **subject.hyper())
    train(method, ToyBatches(method, wrong=0.3), make_optimizer(method.model), last=2)
    source = subject.file.read_text()
    assert [key for key in method.read_records() if meaning(key) is None and key.partition("/")[0] not in source] == []


def test_a_transformers_stages_are_its_blocks() -> None:
    found = stages(build(TRANSFORMER, (1, 8, 8), 4, 0))
    assert list(found) == ["patch_embed", *(f"block{n}" for n in range(6)), "norm", "head"]
    assert list(stages(build(CONVOLUTIONAL, (1, 8, 8), 4, 0))) == ["stem", "stage1", "stage2", "batch_norm", "head"]


def test_stage_gradients_are_those_of_the_losses() -> None:
    model = build(CONVOLUTIONAL, (1, 8, 8), 4, 0)
    torch.manual_seed(0)
    weak, strong, x = torch.randn(3, 20, 1, 8, 8)
    y, true = torch.arange(20) % 4, torch.arange(20) // 5
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = stage_gradients(model, (x, y), (weak, strong, true), contextlib.nullcontext())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

    vectors = {}
    guess = model(weak).argmax(dim=1)
    for name, (images, labels) in {"own": (x, y), "other": (strong, guess), "oracle": (strong, true)}.items():
        loss = F.cross_entropy(model(images), labels)
        vectors[name] = torch.autograd.grad(loss, [model.head.weight, model.head.bias])
        vectors[name] = torch.cat([v.flatten() for v in vectors[name]])
    assert found["stage_gradient_labelled/head"] == pytest.approx(vectors["own"].norm().item(), rel=1e-4)
    assert found["stage_gradient_unlabelled/head"] == pytest.approx(vectors["other"].norm().item(), rel=1e-4)
    cosine = F.cosine_similarity(vectors["other"], vectors["oracle"], dim=0).item()
    assert found["stage_gradient_oracle/head"] == pytest.approx(cosine, rel=1e-3)


def test_unknown_truth_leaves_the_oracle_undefined() -> None:
    one = trial(Subject.of("supervised"), plan=label_plan(truth=False), diagnostics="full", steps=2)
    (report, *_) = one.reports()
    assert math.isnan(report.metrics["diag/stage_gradient_oracle/head"])
    assert math.isfinite(report.metrics["diag/stage_gradient_cosine/head"])
    assert math.isnan(report.metrics["diag/cluster_nmi"]) and "diag/ece" not in report.metrics


def test_probe_images_are_the_same_for_all_methods_and_do_not_overlap_with_the_test() -> None:
    probes = [trial(Subject.of(name), diagnostics="full").diagnostics.probe for name in ("supervised", "layermatch")]
    assert np.array_equal(probes[0].reference, probes[1].reference)
    assert all(torch.equal(a, b) for a, b in zip(probes[0].unlabelled, probes[1].unlabelled, strict=True))
    weak, strong, _ = probes[0].unlabelled
    assert weak.shape == strong.shape and not torch.equal(weak, strong)


@pytest.mark.parametrize("model", [CONVOLUTIONAL, TRANSFORMER])
def test_two_runs_can_be_compared_by_cka(model: str) -> None:
    one, other = (trial(Subject.of(n), model=model, diagnostics="full") for n in ("supervised", "layermatch"))
    start, same = (t.diagnostics.probe.stage_features(t.method.eval_model) for t in (one, other))
    assert list(start) == [*one.method.model.stages, "features"] and all(v.ndim == 2 for v in start.values())
    assert {name: linear_cka(start[name], same[name]) for name in start} == pytest.approx(dict.fromkeys(start, 1))
    one.advance(3)
    trained = one.diagnostics.probe.stage_features(one.method.eval_model)
    assert 0 < linear_cka(start["features"], trained["features"]) < 1


def test_calibration_by_hand() -> None:
    """Two sure and right, one sure and wrong, one unsure and right, one of unknown truth."""
    sure, unsure = torch.tensor([9.0, 0.0]), torch.tensor([0.2, 0.0])
    logits = torch.stack([sure, sure, sure, unsure, sure])
    found = {k: v.item() for k, v in calibration(logits, torch.tensor([0, 0, 1, 0, -1])).items()}
    high, low = (torch.softmax(z, 0)[0].item() for z in (sure, unsure))
    assert found["ece"] == pytest.approx((abs(2 - 3 * high) + abs(1 - low)) / 4, rel=1e-5)
    assert found["confidence_right"] == pytest.approx((2 * high + low) / 3, rel=1e-6)
    assert found["confidence_wrong"] == pytest.approx(high, rel=1e-6)
    assert all(math.isnan(v) for v in calibration(logits, torch.full((5,), -1)).values())


def test_drift_by_hand() -> None:
    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = ToyModel(width=4)
            self.centres = Centres(3, 4, 0.9, torch.device("cpu"), torch.float64)

    method = Holder()
    drift = Drift(method)
    with torch.no_grad():
        method.centres.centres[:2] = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
        method.model.head.weight.mul_(1.5)
    found = {k: v.item() for k, v in drift.read(method).items()}
    rows = method.model.head.weight
    own = (rows[0, 0] / rows[0].norm() + rows[1, 1] / rows[1].norm()) / 2
    assert found["head_drift"] == pytest.approx(0.5) and math.isnan(found["centre_drift"])
    assert found["centre_head_cosine"] == pytest.approx(own.item()) and found["centre_pair_cosine"] == 0
    with torch.no_grad():
        method.centres.centres[0, 0] = 2.0
    again = {k: v.item() for k, v in drift.read(method).items()}
    assert again["head_drift"] == 0 and again["centre_drift"] == pytest.approx(1 / math.sqrt(2))


def test_settings_refuse_other_levels() -> None:
    with pytest.raises(ValueError, match="cheap"):
        TrainSettings.model_validate({"diagnostics": "all"})
    assert dataclasses.fields(TABLE["ece"])[0].name == "text"


@pytest.mark.slow
@pytest.mark.parametrize("model", [CONVOLUTIONAL, TRANSFORMER])
def test_clid_by_stage_ends_in_the_clid_that_every_evaluation_reports(model: str) -> None:
    (report, *_) = trial(Subject.of("supervised"), model=model, diagnostics="full", steps=2).reports()
    found = {k.rpartition("/")[2]: v for k, v in report.metrics.items() if k.startswith("diag/stage_clid/")}
    assert found["features"] == pytest.approx(report.metrics["val_clid"], rel=1e-5)
    assert len(set(found.values())) > 2 and all(map(math.isfinite, found.values()))
