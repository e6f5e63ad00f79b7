"""Mean Teacher, ICT, MixMatch, UDA, FlexMatch, FreeMatch and SoftMatch against their equations and known bugs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from methods.parts.mixing import sample_beta, sharpen
from tests.methods.toy import ToyBatches, ToyModel, make_method, make_optimizer, train


def plain(name: str, **values):
    """Without BN, so that how images are grouped into forwards makes no difference."""
    method = make_method(name, model=ToyModel(norm=False), **values)
    return method, ToyBatches(method).next(0)


def test_mean_teacher_by_hand_and_its_student_learns():
    """A public benchmark takes the student's logits from the teacher's pass: no gradient, supervised learning."""
    method, batch = plain("mean_teacher", lambda_u=7.0, ramp=0.0)
    with torch.no_grad():
        for parameter in method.ema.module.parameters():
            parameter.mul_(1.1)
    first, second = batch.unlabelled.views
    expected = 7 * ((method.model(second).softmax(1) - method.ema.module(first).softmax(1)) ** 2).mean()
    terms = method.loss(batch)
    torch.testing.assert_close(terms["unlabelled"], expected)
    gradients = torch.autograd.grad(terms["unlabelled"], list(method.model.parameters()))
    assert all(gradient.abs().sum() > 0 for gradient in gradients)
    assert all(parameter.grad is None for parameter in method.ema.parameters())


@pytest.mark.parametrize("name", ["mean_teacher", "ict"])
def test_a_teacher_sees_its_batch_and_bn_learns_from_the_labelled_images(name):
    method, reference = make_method(name, ramp=0.0), make_method("supervised")
    norm, teachers = method.model.body[2], method.ema.module.body[2]
    teachers.running_mean.fill_(1e6)  # running statistics would make nonsense of the teacher's predictions
    batch = ToyBatches(method).next(0)
    assert method.loss(batch)["unlabelled"] < 20
    reference.loss(batch)
    assert torch.equal(norm.running_mean, reference.model.body[2].running_mean) and norm.num_batches_tracked == 1
    assert teachers.num_batches_tracked == 0 and not teachers.training and teachers.track_running_stats


@pytest.mark.parametrize("name", ["mean_teacher", "ict", "mixmatch"])
def test_consistency_is_ramped(name):
    method = make_method(name, ramp=0.4, model_ema=0.0)  # 50 steps: full at step 20
    values = []
    for step in (0, 10, 20):
        method.generator.manual_seed(0)
        batch = ToyBatches(method).next(1)
        batch.step = step
        values.append(method.loss(batch)["unlabelled"].detach())
    assert values[0] == 0 and values[2] > 0
    torch.testing.assert_close(values[1], values[2] / 2)


def test_ict_by_hand():
    method, batch = plain("ict", lambda_u=5.0, ramp=0.0)
    generator = torch.Generator().manual_seed(0)
    lam = sample_beta(1.0, generator)
    order = torch.randperm(8, generator=generator)
    x = batch.unlabelled.weak
    p = method.ema.module(x).softmax(1)
    student = method.model(lam * x + (1 - lam) * x[order]).softmax(1)
    expected = 5 * ((student - lam * p - (1 - lam) * p[order]) ** 2).mean()
    torch.testing.assert_close(method.loss(batch)["unlabelled"], expected)


def test_ict_as_released_by_hand():
    """Targets softmax(lam z' + (1 - lam) z'_pi) of the teacher's logits; MixUp of the labelled images."""
    method, batch = plain("ict", lambda_u=5.0, ramp=0.0, mixes="logits", labelled_alpha=0.7)
    generator = torch.Generator().manual_seed(0)
    lam = sample_beta(1.0, generator)
    order = torch.randperm(8, generator=generator)
    labelled_lam = sample_beta(0.7, generator)
    labelled_order = torch.randperm(8, generator=generator)
    x, u, y = batch.labelled.weak, batch.unlabelled.weak, batch.labelled.y
    z = method.ema.module(u)
    student = method.model(lam * u + (1 - lam) * u[order]).softmax(1)
    expected = 5 * ((student - (lam * z + (1 - lam) * z[order]).softmax(1)) ** 2).mean()
    logits = method.model(labelled_lam * x + (1 - labelled_lam) * x[labelled_order])
    one, other = F.cross_entropy(logits, y), F.cross_entropy(logits, y[labelled_order])
    terms = method.loss(batch)
    torch.testing.assert_close(terms["unlabelled"], expected)
    torch.testing.assert_close(terms["labelled"], labelled_lam * one + (1 - labelled_lam) * other)
    assert not torch.allclose(expected, plain("ict", lambda_u=5.0, ramp=0.0)[0].loss(batch)["unlabelled"])


def test_mixmatch_by_hand():
    method, batch = plain("mixmatch", lambda_u=5.0, ramp=0.0, uratio=2)
    u1, u2 = batch.unlabelled.views
    mean = (method.model(u1).softmax(1) + method.model(u2).softmax(1)).detach() / 2
    guess = mean**2 / (mean**2).sum(1, keepdim=True)
    images = torch.cat([batch.labelled.weak, u1, u2])
    targets = torch.cat([F.one_hot(batch.labelled.y, 3).double(), guess, guess])
    generator = torch.Generator().manual_seed(0)
    lam = sample_beta(0.5, generator)
    lam = max(lam, 1 - lam)
    order = torch.randperm(len(images), generator=generator)
    logits = method.model(lam * images + (1 - lam) * images[order])
    targets = lam * targets + (1 - lam) * targets[order]
    terms = method.loss(batch)
    torch.testing.assert_close(terms["labelled"], -(targets * logits.log_softmax(1))[:8].sum(1).mean())
    torch.testing.assert_close(terms["unlabelled"], 5 * ((logits.softmax(1) - targets)[8:] ** 2).mean())


def test_mixmatch_bn_learns_from_one_cross_section_of_the_batch():
    method = make_method("mixmatch", uratio=2)
    norm = method.model.body[2]
    method.loss(ToyBatches(method).next(0))
    assert norm.num_batches_tracked == 1 and norm.track_running_stats
    images = torch.arange(40.0, dtype=torch.float64).repeat_interleave(16).view(40, 1, 4, 4)
    seen = []
    handle = norm.register_forward_hook(lambda *_: seen.append(norm.track_running_stats))
    taken = []
    first = method.model.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0][:, 0, 0, 0].tolist()))
    logits = method._in_chunks(images, 8)
    handle.remove(), first.remove()
    assert seen == [True, False, False, False, False]
    assert taken[0] == [0, 5, 10, 15, 20, 25, 30, 35]  # labelled (first 8) and unlabelled in their shares
    assert len(logits) == 40 and logits.isfinite().all()


def test_chunks_give_logits_back_in_order():
    method, batch = plain("mixmatch")
    images = torch.cat([batch.labelled.weak, *batch.unlabelled.views])
    torch.testing.assert_close(method._in_chunks(images, 8), method.model(images))


def test_sharpening():
    p = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]])
    expected = torch.tensor([[0.25, 0.09, 0.04], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(sharpen(p, 0.5), expected / expected.sum(1, keepdim=True))
    torch.testing.assert_close(sharpen(p, 1.0), p)


def test_uda_sharpens_its_targets():
    """A public benchmark passes soft targets through without their temperature."""
    method, batch = plain("uda", threshold=0.4, temperature=0.25, lambda_u=2.0)
    z = method.model(batch.unlabelled.weak).detach()
    chosen = (z.softmax(1).amax(1) >= 0.4).double()
    assert 0 < chosen.sum() < len(chosen)
    each = -((z / 0.25).softmax(1) * method.model(batch.unlabelled.strong).log_softmax(1)).sum(1)
    torch.testing.assert_close(method.loss(batch)["unlabelled"], 2 * (chosen * each).mean())
    nothing, batch = plain("uda", threshold=1.0)
    terms = nothing.loss(batch)
    assert terms.total() == terms["labelled"]


def test_flexmatch_takes_all_at_first_and_then_fewer():
    method = make_method("flexmatch", threshold=0.9)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 1)
    assert method.read_records()["mask_rate"] == 1
    train(method, batches, optimizer, 1, 30)
    batch = batches.next(30)
    thresholds = method.selector.thresholds()
    with torch.no_grad():
        u = batch.unlabelled
        q = method.model(torch.cat([batch.labelled.weak, u.weak, u.strong]))[8:64].softmax(1)
    method.read_records()
    method.loss(batch)
    expected = (q.amax(1) >= thresholds[q.argmax(1)]).double().mean().item()
    assert method.read_records()["mask_rate"] == pytest.approx(expected)
    assert (thresholds > 0).all() and (thresholds <= 0.9).all()


@pytest.mark.parametrize("name", ["freematch", "softmatch"])
def test_the_loss_is_weighted_by_the_selector(name):
    method, batch = plain(name, selector_ema=0.5)
    twin, _ = plain(name, selector_ema=0.5)
    q = method.model(batch.unlabelled.weak).detach().softmax(1)
    mask = twin.selector(q, batch.unlabelled.index)
    strong = method.model(batch.unlabelled.strong)
    terms = method.loss(batch)
    each = F.cross_entropy(strong, q.argmax(1), reduction="none")
    torch.testing.assert_close(terms["unlabelled"], (mask * each).mean())
    if name == "freematch":
        torch.testing.assert_close(terms["fairness"], 0.001 * twin.selector.fairness(strong, mask))
