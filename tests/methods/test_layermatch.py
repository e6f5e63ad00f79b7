"""LayerMatch: the acceptance tests of docs/layermatch.md, section 10, that concern the gate and the centres."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from methods.parts.centres import Centres
from tests.methods.toy import CLASSES, ToyBatches, ToyModel, make_method, make_optimizer, train

EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-14}


def gradients(name: str, which: str = "all", **values) -> dict[str, torch.Tensor]:
    """Gradients of one term (or of the sum) at the same weights and batch, whatever the method."""
    method = make_method(name, threshold=0.4, lambda_u=1.7, **values)
    batches = ToyBatches(method)
    terms = method.loss(batches.next(3))
    total = terms.total() if which == "all" else terms[which]
    method.model.zero_grad()
    total.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in method.model.named_parameters()
    }


def test_1_hard_gate_blocks_the_head_and_only_the_head():
    gated = gradients("layermatch", centre_mode="off")
    fixmatch, labelled = gradients("fixmatch"), gradients("fixmatch", "labelled")
    for name, gradient in gated.items():
        expected = labelled if name.startswith("head.") else fixmatch
        torch.testing.assert_close(gradient, expected[name], **EXACT)
    assert (fixmatch["head.weight"] - labelled["head.weight"]).abs().max() > 1e-3  # there was something to block


def test_2_open_gate_is_fixmatch():
    open_gate, fixmatch = gradients("layermatch", centre_mode="off", gate=1.0), gradients("fixmatch")
    for name, gradient in open_gate.items():
        torch.testing.assert_close(gradient, fixmatch[name], **EXACT)
    runs = []
    for name, values in (("layermatch", {"centre_mode": "off", "gate": 1.0}), ("fixmatch", {})):
        method = make_method(name, threshold=0.6, **values)
        runs.append(train(method, ToyBatches(method), make_optimizer(method.model), last=20))
    for ours, theirs in zip(*runs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-8)


@pytest.mark.parametrize("gate", [0.1, 0.3, 0.9])
def test_3_scalar_gate_scales_the_heads_share(gate):
    gated = gradients("layermatch", centre_mode="off", gate=gate)
    labelled, unlabelled = gradients("fixmatch", "labelled"), gradients("fixmatch", "unlabelled")
    for name, gradient in gated.items():
        share = gate if name.startswith("head.") else 1.0
        torch.testing.assert_close(gradient, labelled[name] + share * unlabelled[name], **EXACT)


def test_4_without_a_labelled_loss_the_head_stands_still():
    method = make_method("layermatch", threshold=0.0)
    optimizer = torch.optim.SGD(method.model.parameters(), lr=0.1, momentum=0.9)
    before = {name: p.detach().clone() for name, p in method.model.named_parameters()}
    terms = method.loss(ToyBatches(method).next(3))
    method.descend(terms["unlabelled"] + terms["centre"], optimizer)
    for name, p in method.model.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("head."), name


def reference_update(centres, seen, updates, decay, features, label, weight):
    """The centre update of docs/layermatch.md, section 3.2, sample by sample in NumPy."""
    centres, seen, updates = centres.copy(), seen.copy(), updates.copy()
    for k in range(len(seen)):
        total, count = np.zeros(centres.shape[1]), 0.0
        for phi, y, a in zip(features, label, weight, strict=True):
            if y == k:
                total += a * phi / np.linalg.norm(phi)
                count += a
        if count > 0:
            mean = total / count
            updates[k] += 1
            newest = (1 - decay) / (1 - decay ** updates[k])
            centres[k] = mean if seen[k] == 0 else (1 - newest) * centres[k] + newest * mean
            seen[k] += count
    return centres, seen, updates


def test_6_centres_follow_the_reference():
    rng = np.random.default_rng(0)
    ours = Centres(5, 7, 0.9, torch.device("cpu"), torch.float64)
    centres, seen, updates = np.zeros((5, 7)), np.zeros(5), np.zeros(5)
    for step in range(6):
        features = rng.normal(size=(20, 7))
        label = rng.integers(-1, 3 if step < 3 else 4, size=20)  # class 3 comes late, class 4 never; -1 is nobody's
        weight = rng.choice([0.0, 0.5, 1.0], size=20)
        ours.update(*ours.gather(torch.from_numpy(features), torch.from_numpy(label), torch.from_numpy(weight)))
        centres, seen, updates = reference_update(centres, seen, updates, 0.9, features, label, weight)
        np.testing.assert_allclose(ours.centres.numpy(), centres, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ours.seen.numpy(), seen)
    assert not ours.centres[4].any() and ours.centres[3].any()


def test_6_first_touch_copies_and_absence_keeps():
    ours = Centres(2, 2, 0.99, torch.device("cpu"), torch.float64)
    ours.update(*ours.gather(torch.tensor([[3.0, 4.0]]), torch.tensor([1]), torch.tensor([1.0])))
    assert ours.centres.tolist() == [[0.0, 0.0], pytest.approx([0.6, 0.8])]
    before = ours.centres.clone()
    ours.update(*ours.gather(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), torch.tensor([0.0])))
    assert torch.equal(ours.centres, before)


@pytest.mark.parametrize("mode", ["attract", "proto"])
def test_6_the_loss_uses_the_centres_from_before_the_step(mode):
    method = make_method("layermatch", threshold=0.0, centre_mode=mode, centre_ramp=0.0, centre_ema=0.5)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 5)
    centres, batch = method.centres.centres.clone(), batches.next(5)
    with torch.no_grad():
        strong = method.model(torch.cat([batch.labelled.weak, batch.unlabelled.weak, batch.unlabelled.strong]), True)
        phi = strong[0][-len(batch.unlabelled.y) :]
        label = strong[1].split([8, 56, 56])[1].argmax(1)
    cosine = F.normalize(phi, dim=1) @ F.normalize(centres, dim=1).T
    expected = {
        "attract": (1 - cosine.gather(1, label[:, None])).mean(),
        "proto": F.cross_entropy(cosine / 0.1, label),
    }[mode]
    terms = method.step(batch, optimizer)
    torch.testing.assert_close(terms["centre"], 0.5 * expected, rtol=1e-9, atol=0)
    assert torch.equal(method.centres.centres, centres)
    method.after_step(batch)
    assert not torch.equal(method.centres.centres, centres)
    assert method.centres.centres.grad is None and not method.centres.centres.requires_grad


@pytest.mark.parametrize("agreement", [True, False])
def test_6_members_are_confident_and_agree(agreement):
    method = make_method("layermatch", threshold=0.45, view_agreement=agreement, labelled_weight=2.0)
    batch = ToyBatches(method).next(0)
    u = batch.unlabelled
    with torch.no_grad():
        _, logits = method.model(torch.cat([batch.labelled.weak, u.weak, u.strong]), True)
    _, weak, strong = logits.split([8, 56, 56])
    confidence, label = weak.softmax(1).max(1)
    member = confidence >= 0.45
    member = member & (strong.argmax(1) == label) if agreement else member
    expected = [2.0 * (batch.labelled.y == k).sum() + (member & (label == k)).sum() for k in range(CLASSES)]
    method.step(batch, make_optimizer(method.model))
    method.after_step(batch)
    assert method.centres.seen.tolist() == [float(n) for n in expected]
    assert 0 < member.sum() < len(member)


@pytest.mark.parametrize("mode", ["attract", "proto", "off"])
@pytest.mark.parametrize("name", ["layermatch", "fixmatch"])
def test_7_nothing_selected_leaves_the_labelled_loss(name, mode):
    values = {"centre_mode": mode, "centre_ramp": 0.0} if name == "layermatch" else {}
    method = make_method(name, threshold=1.0, **values)
    with torch.no_grad():
        method.model.head.weight.mul_(0.01)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    for step in range(3):
        terms = method.step(batches.next(step), optimizer)
        assert terms.total() == terms["labelled"]
        method.after_step(batches.next(step))
    assert all(p.isfinite().all() for p in method.model.parameters())


@pytest.mark.parametrize("mode", ["attract", "proto"])
def test_7_classes_without_a_centre_give_no_nan(mode):
    centres = Centres(4, 6, 0.9, torch.device("cpu"), torch.float64)
    features = torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    label, mask = torch.arange(8) % 4, torch.ones(8, dtype=torch.float64)

    def loss() -> torch.Tensor:
        return (
            centres.attract(features, label, mask) if mode == "attract" else centres.proto(features, label, mask, 0.1)
        )

    assert loss() == 0  # no centre at all
    (gradient,) = torch.autograd.grad(loss(), features)
    assert not gradient.any()
    centres.update(*centres.gather(features.detach()[:3], label[:3], mask[:3]))  # classes 0, 1, 2; not 3
    (gradient,) = torch.autograd.grad(loss(), features)
    assert gradient.isfinite().all() and not gradient[label == 3].any() and gradient[label == 0].any()


@pytest.mark.parametrize("mode", ["attract", "proto"])
def test_9_a_checkpoint_reproduces_the_next_ten_losses(mode, tmp_path):
    method = make_method("layermatch", threshold=0.5, centre_mode=mode)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 10)
    torch.save({"method": method.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    expected = train(method, batches, optimizer, 10, 20)
    saved = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh = make_method("layermatch", seed=3, threshold=0.5, centre_mode=mode)
    resumed = make_optimizer(fresh.model)
    fresh.load_state_dict(saved["method"])
    resumed.load_state_dict(saved["optimizer"])
    assert train(fresh, batches, resumed, 10, 20) == expected
    assert all(step["centre"] > 0 for step in expected)


def test_the_centre_loss_is_ramped_over_its_share_of_the_steps():
    method = make_method("layermatch", steps=100, centre_ramp=0.1)
    assert [method.ramp_up(step, 0.1) for step in (0, 5, 10, 99)] == [0.0, 0.5, 1.0, 1.0]
    assert method.ramp_up(0, 0.0) == 1.0


def test_a_head_that_is_not_linear_can_be_gated():
    class CosineHead(torch.nn.Linear):
        def forward(self, input):
            return 5 * F.normalize(input, dim=1) @ F.normalize(self.weight, dim=1).T

    model = ToyModel()
    model.head = CosineHead(12, CLASSES, bias=False, dtype=torch.float64)
    method = make_method("layermatch", model=model, threshold=0.0)
    terms = method.loss(ToyBatches(method).next(0))
    (gradient,) = torch.autograd.grad(terms["unlabelled"], model.head.weight, allow_unused=True)
    assert gradient is None
