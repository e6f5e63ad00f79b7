"""supervised, pseudo_label, mixup and fixmatch against their equations."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from methods.parts.mixing import mix, sample_beta
from tests.methods.toy import ToyBatches, make_method, make_optimizer, train


def test_supervised_is_cross_entropy():
    method = make_method("supervised")
    batch = ToyBatches(method).next(0)
    expected = F.cross_entropy(method.model(batch.labelled.weak), batch.labelled.y)
    torch.testing.assert_close(method.loss(batch).total(), expected)


def test_fixmatch_by_hand():
    method = make_method("fixmatch", threshold=0.45, lambda_u=2.0)
    batch = ToyBatches(method).next(0)
    u = batch.unlabelled
    logits = method.model(torch.cat([batch.labelled.weak, u.weak, u.strong])).detach()  # one set of batch statistics
    q = logits[8 : 8 + 56].softmax(1)
    each = F.cross_entropy(logits[8 + 56 :], q.argmax(1), reduction="none")
    chosen = q.amax(1) >= 0.45
    assert 0 < chosen.sum() < 56
    terms = method.loss(batch)
    torch.testing.assert_close(terms["unlabelled"].detach(), 2.0 * each[chosen].sum() / 56)
    torch.testing.assert_close(terms["labelled"].detach(), F.cross_entropy(logits[:8], batch.labelled.y))


def test_fixmatch_sends_no_gradient_through_the_guess():
    method = make_method("fixmatch", threshold=0.0, model=make_method("supervised").model)
    batch = ToyBatches(method).next(0)
    batch.unlabelled.views[0].requires_grad_()
    batch.unlabelled.views[1].requires_grad_()
    method.model.body[2].eval()  # batch statistics would tie the views together
    method.loss(batch)["unlabelled"].backward()
    weak, strong = batch.unlabelled.views
    assert not weak.grad.any() and strong.grad.any()


@pytest.mark.parametrize(("step", "expected"), [(0, 0.0), (10, 0.5), (20, 1.0), (40, 1.0)])
def test_pseudo_label_ramp(step, expected):
    method = make_method("pseudo_label", threshold=0.0, lambda_u=3.0)  # 50 steps, ramp 0.4: full at step 20
    batch = ToyBatches(method).next(step)
    full = make_method("pseudo_label", threshold=0.0, lambda_u=3.0, ramp=0.0).loss(batch)["unlabelled"]
    torch.testing.assert_close(method.loss(batch)["unlabelled"], expected * full)


def test_pseudo_label_guesses_and_learns_on_the_same_logits():
    method = make_method("pseudo_label", threshold=0.4, ramp=0.0)
    batch = ToyBatches(method, batch_size=16).next(0)
    z = method.model(batch.unlabelled.weak)
    q = z.detach().softmax(1)
    expected = (F.cross_entropy(z, q.argmax(1), reduction="none") * (q.amax(1) >= 0.4)).mean()
    torch.testing.assert_close(method.loss(batch)["unlabelled"], expected)


def test_pseudo_label_running_statistics_are_the_labelled_images_alone():
    method, plain = make_method("pseudo_label", ramp=0.0, threshold=0.0), make_method("supervised")
    batch = ToyBatches(method).next(0)
    method.loss(batch)
    plain.loss(batch)
    ours, theirs = method.model.body[2], plain.model.body[2]
    assert torch.equal(ours.running_mean, theirs.running_mean) and torch.equal(ours.running_var, theirs.running_var)
    assert ours.num_batches_tracked == 1 and ours.track_running_stats


def test_mixup_loss_by_hand():
    method = make_method("mixup", alpha=2.0)
    batch = ToyBatches(method).next(0)
    generator = torch.Generator().manual_seed(0)
    lam = sample_beta(2.0, generator)
    order = torch.randperm(8, generator=generator)
    x, y = batch.labelled.weak, batch.labelled.y
    logits = method.model(lam * x + (1 - lam) * x[order])
    soft = lam * F.one_hot(y, 3) + (1 - lam) * F.one_hot(y[order], 3)
    torch.testing.assert_close(method.loss(batch).total(), F.cross_entropy(logits, soft))


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 10.0), st.integers(0, 2**31 - 1))
def test_mixing_weights_are_in_the_unit_interval(alpha, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.eye(4), torch.arange(4)
    mixed, ours, others, lam = mix(x, y, alpha, generator)
    assert 0 <= lam <= 1
    torch.testing.assert_close(mixed, lam.float() * x[ours] + (1 - lam.float()) * x[others])


def test_mixing_weights_follow_beta():
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([sample_beta(0.5, generator) for _ in range(4000)])
    assert draws.mean() == pytest.approx(0.5, abs=0.02)
    assert draws.var() == pytest.approx(1 / 8, abs=0.01)  # 1 / (4 (2 alpha + 1))


def test_right_guesses_are_counted():
    method = make_method("fixmatch", threshold=0.6)
    batches = ToyBatches(method)
    train(method, batches, make_optimizer(method.model), last=40)
    method.read_records()
    batch = batches.next(40)
    u = batch.unlabelled
    with torch.no_grad():
        logits = method.model(torch.cat([batch.labelled.weak, u.weak, u.strong]))[8:64]
    right, chosen = logits.argmax(1) == u.true, logits.softmax(1).amax(1) >= 0.6
    method.loss(batch)
    records = method.read_records()
    assert records["mask_rate"] == pytest.approx(chosen.float().mean().item())
    assert records["pseudo_label_accuracy"] == pytest.approx(right.float().mean().item())
    assert records["pseudo_label_accuracy_selected"] == pytest.approx(right[chosen].float().mean().item())
