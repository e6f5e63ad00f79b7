"""What a watched step tells, against gradients taken the long way; and that watching changes nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods.base import Batch, Terms
from methods.parts.watch import EVERY
from methods.supervised import Supervised
from tests.methods.toy import CLASSES, ToyBatches, ToyModel, make_method, make_optimizer, make_setup, train


def watched(name: str, wrong: float = 0.3, step: int = 0, **values):
    """A method, a batch of a step whose turn it is, and what was found in it."""
    method = make_method(name, **values)
    method.after_step = lambda batch: None  # keep the weights' averages out of it
    batches = ToyBatches(method, wrong=wrong)
    train(method, batches, make_optimizer(method.model), first=1, last=12)
    batch = batches.next(step)
    before = make_method(name, **values)
    before.load_state_dict(method.state_dict())
    method.read_records()
    method.take_step(batch, make_optimizer(method.model))
    return before, batch, method.read_records()


def head_gradient(loss: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    return torch.autograd.grad(loss, model.head.weight, retain_graph=True)[0].float()


@pytest.mark.parametrize("name", ["fixmatch", "layermatch"])
def test_head_gradients_are_those_of_autograd(name):
    """Also where a gate lets nothing of the unlabelled loss through: LayerMatch's is what FixMatch's would be."""
    settings = {"centre_mode": "off"} if name == "layermatch" else {}
    before, batch, found = watched(name, threshold=0.4, lambda_u=1.7, **settings)
    plain = make_method("fixmatch", threshold=0.4, lambda_u=1.7, model=before.model)
    terms = plain.loss(batch)
    labelled, unlabelled = (head_gradient(terms[key], plain.model) for key in ("labelled", "unlabelled"))
    cosine = F.cosine_similarity(labelled.flatten(), unlabelled.flatten(), dim=0)
    assert found["head_gradient_labelled"] == pytest.approx(labelled.norm().item(), rel=1e-5)
    assert found["head_gradient_unlabelled"] == pytest.approx(unlabelled.norm().item(), rel=1e-5)
    assert found["head_gradient_cosine"] == pytest.approx(cosine.item(), rel=1e-4)
    assert found["head_gradient_conflict"] == float(cosine < 0)


def test_right_and_wrong_guesses_are_told_apart():
    method, batch, found = watched("fixmatch", threshold=0.4, lambda_u=1.7)
    model, unlabelled = method.model, batch.unlabelled
    features, logits = model(torch.cat([batch.labelled.weak, unlabelled.weak, unlabelled.strong]), with_features=True)
    count = len(unlabelled.index)
    weak, strong = logits[-2 * count : -count], logits[-count:]
    confidence, label = weak.softmax(dim=1).max(dim=1)
    chosen, hit = confidence >= 0.4, label == unlabelled.true
    assert (chosen & ~hit).any() and (chosen & hit).any()
    for name, part in (("right", chosen & hit), ("wrong", chosen & ~hit)):
        loss = F.cross_entropy(strong[part], label[part], reduction="sum") / count
        assert found[f"head_gradient_{name}"] == pytest.approx(head_gradient(loss, model).norm().item(), rel=1e-5)
        delta = torch.autograd.grad(loss * count, features, retain_graph=True)[0][-count:][part]
        assert found[f"feature_gradient_{name}"] == pytest.approx(delta.norm(dim=1).mean().item(), rel=1e-5)
    part = chosen & ~hit
    told, oracle = (F.cross_entropy(strong[part], y[part], reduction="sum") for y in (label, unlabelled.true))
    head = [head_gradient(loss, model).flatten() for loss in (told, oracle)]
    assert found["head_gradient_wrong_oracle"] == pytest.approx(F.cosine_similarity(*head, dim=0).item(), rel=1e-4)
    delta = [torch.autograd.grad(loss, features, retain_graph=True)[0][-count:][part] for loss in (told, oracle)]
    expected = F.cosine_similarity(*delta, dim=1).mean().item()
    assert found["feature_gradient_wrong_oracle"] == pytest.approx(expected, rel=1e-4)


def test_the_mirror_gate_and_the_gate_per_image_count_each_image_once():
    """Both pass some features through the head twice, once cut off from the network."""
    found = {}
    for mode in ("hard", "sample", "mirror"):
        values = {"gate_mode": mode, "centre_mode": "off", "threshold": 0.4}
        method = make_method("layermatch", **values)
        batches = ToyBatches(method)
        method.take_step(batches.next(0), make_optimizer(method.model))
        found[mode] = method.read_records()["head_gradient_unlabelled"]
    assert found["sample"] == pytest.approx(found["hard"], rel=1e-5)
    assert found["mirror"] == pytest.approx(found["hard"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fixmatch", "layermatch", "mixup", "clid_mu", "pseudo_label"])
def test_watching_changes_no_number(name):
    runs = []
    for on in (True, False):
        found = make_method(name)
        setup = dataclasses.replace(make_setup(), diagnostics=on)
        method = type(found)(ToyModel(0), found.hyper, setup).train()
        losses = train(method, ToyBatches(method, wrong=0.3), make_optimizer(method.model), last=EVERY + 2)
        runs.append((losses, [p.tolist() for p in method.eval_model.parameters()]))
    assert runs[0] == runs[1]


def test_off_remembers_nothing():
    found = make_method("fixmatch", threshold=0.4)
    method = type(found)(ToyModel(0), found.hyper, dataclasses.replace(make_setup(), diagnostics=False)).train()
    train(method, ToyBatches(method), make_optimizer(method.model), last=3)
    assert not [name for name in method.state_dict() if name.startswith("watch.")]
    assert not [name for name in method.read_records() if "gradient" in name or "flips" in name]
    on = make_method("fixmatch", threshold=0.4)
    on.load_state_dict(method.state_dict())  # diagnostics do not decide whether a checkpoint fits
    method.load_state_dict(on.state_dict())


def test_only_every_so_often():
    method = make_method("fixmatch", threshold=0.4)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    train(method, batches, optimizer, first=0, last=1)
    assert "head_gradient_labelled" in method.read_records()
    train(method, batches, optimizer, first=1, last=EVERY)
    assert "head_gradient_labelled" not in method.read_records()
    train(method, batches, optimizer, first=EVERY, last=EVERY + 1)
    assert "head_gradient_labelled" in method.read_records()


def test_flips_histogram_and_impurity_are_those_of_the_labels():
    method = make_method("fixmatch", threshold=0.4)
    batches, guesses = ToyBatches(method), []
    plain = type(method.watch).pseudo_labels
    method.watch.pseudo_labels = lambda guess, stream: (
        guesses.append((guess, stream)) or plain(method.watch, guess, stream)
    )
    train(method, batches, make_optimizer(method.model), last=10)
    memory: dict[int, int] = {}
    flips, seen, counts, wrong = 0, 0, np.zeros(CLASSES), np.zeros(CLASSES)
    for guess, stream in guesses:
        before = dict(memory)
        for index, label, mask, true in zip(
            stream.index.tolist(), guess.label.tolist(), guess.mask.tolist(), stream.true.tolist(), strict=True
        ):
            seen += index in before
            flips += index in before and before[index] != label
            memory[index] = label
            counts[label] += mask
            wrong[label] += mask * (label != true)
    records = method.read_records()
    share = counts / counts.sum()
    kl = sum(p * math.log(p * CLASSES) for p in share if p > 0)
    assert records["pseudo_label_flips"] == pytest.approx(flips / seen)
    assert records["pseudo_label_kl"] == pytest.approx(kl, abs=1e-6)
    assert records["pseudo_label_impurity"] == pytest.approx(
        max(w / c for w, c in zip(wrong, counts, strict=True) if c)
    )


def test_nothing_selected_is_nan_not_zero():
    method = make_method("fixmatch", threshold=1.0)
    train(method, ToyBatches(method), make_optimizer(method.model), last=1)
    records = method.read_records()
    assert records["head_gradient_unlabelled"] == 0
    undefined = ("head_gradient_cosine", "head_gradient_wrong", "feature_gradient_right", "pseudo_label_kl")
    assert all(math.isnan(records[name]) for name in undefined)


def test_mixed_precision_is_watched_in_full():
    method = make_method("fixmatch", threshold=0.4, model=ToyModel(dtype=torch.float32))
    exact = method.take_step(ToyBatches(method).next(0), make_optimizer(method.model)) and method.read_records()
    half = make_method("fixmatch", threshold=0.4, model=ToyModel(dtype=torch.float32))
    half.setup = dataclasses.replace(half.setup, amp=True)
    half.take_step(ToyBatches(half).next(0), make_optimizer(half.model))
    records = half.read_records()
    assert records["head_gradient_labelled"] == pytest.approx(exact["head_gradient_labelled"], rel=0.05)
    assert all(math.isfinite(value) for name, value in records.items() if "labelled" in name)


class OwnStep(Supervised):
    """A step that hands the sum of its terms to `descend`, as a scalar."""

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Terms:
        terms = self.loss(batch)
        self.descend(terms.total(), optimizer)
        return terms


def test_a_scalar_trains_alike_and_is_not_compared():
    ends = []
    for cls in (OwnStep, Supervised):
        method = make_method(cls)
        losses = train(method, ToyBatches(method), make_optimizer(method.model), last=3)
        ends.append((losses, [p.tolist() for p in method.model.parameters()], set(method.read_records())))
    assert ends[0][:2] == ends[1][:2]
    assert ends[1][2] - ends[0][2] == {"head_gradient_labelled"}


def test_a_step_within_a_step_of_another_method_is_not_compared():
    """Each method has a watch of its own: only the method whose step is observed is looked at."""
    outer, inner = make_method("supervised"), make_method("fixmatch", threshold=0.4)
    batch, step = ToyBatches(inner).next(1), outer.step
    outer.step = lambda *args: inner.step(batch, make_optimizer(inner.model)) and step(*args)
    outer.take_step(ToyBatches(outer).next(0), make_optimizer(outer.model))
    assert "head_gradient_labelled" in outer.read_records()
    assert not [name for name in inner.read_records() if "gradient" in name]
