"""AdaMatch and SimMatch against their equations."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from tests.methods.toy import ToyBatches, make_method, make_optimizer, train

# -- AdaMatch ----------------------------------------------------------------------------------------------------------


def test_adamatch_by_hand_over_two_steps():
    method = make_method("adamatch", threshold=1.05, lambda_u=2.0, alignment_ema=0.8, window=4)
    generator = torch.Generator().manual_seed(0)
    p_x, history = torch.full((3,), 1 / 3, dtype=torch.float64), [torch.full((3,), 1 / 3, dtype=torch.float64)] * 4
    batches = ToyBatches(method)
    for step in (10, 40):  # of 50
        batch = batches.next(step)
        u, y = batch.unlabelled, batch.labelled.y
        x = torch.cat(batch.labelled.views)
        with torch.no_grad():
            alone = method.model(x)
            beside, weak, strong = method.model(torch.cat([x, u.weak, u.strong])).split([16, 24, 24])
        lam = torch.rand(16, 3, generator=generator, dtype=torch.float64)
        z = lam * alone + (1 - lam) * beside
        p, q = z[:8].softmax(1), weak.softmax(1)
        p_x = 0.8 * p_x + 0.2 * p.mean(0)
        history = [*history[1:], q.mean(0)]
        q = q * (p_x + 1e-6) / (sum(history) / 4 + 1e-6)
        q = q / q.sum(1, keepdim=True)
        chosen = q.amax(1) >= 1.05 * p.amax(1).mean()
        assert 0 < chosen.sum() < 24
        each = F.cross_entropy(strong, q.argmax(1), reduction="none")
        mu = 0.5 - math.cos(min(math.pi, 2 * math.pi * step / 50)) / 2
        terms = method.loss(batch)
        supervised = (F.cross_entropy(z[:8], y) + F.cross_entropy(z[8:], y)) / 2
        torch.testing.assert_close(terms["labelled"].detach(), supervised, rtol=1e-6, atol=0)
        torch.testing.assert_close(terms["unlabelled"].detach(), 2 * mu * (each * chosen).sum() / 24, rtol=1e-6, atol=0)
        torch.testing.assert_close(method.labelled_mean.double(), p_x, rtol=1e-5, atol=0)


def test_adamatch_moves_running_statistics_once_and_learns_through_both_passes():
    method = make_method("adamatch")
    batch = ToyBatches(method).next(0)
    batch.labelled.views[0].requires_grad_()
    method.loss(batch)["labelled"].backward()
    assert method.model.body[2].num_batches_tracked == 1
    alone = make_method("adamatch")
    fresh = ToyBatches(alone).next(0)
    with torch.no_grad():
        alone.model(torch.cat([*fresh.labelled.views, fresh.unlabelled.weak, fresh.unlabelled.strong]))
    torch.testing.assert_close(method.model.body[2].running_mean, alone.model.body[2].running_mean)


# -- SimMatch ----------------------------------------------------------------------------------------------------------


def test_simmatch_by_hand():
    method = make_method(
        "simmatch", threshold=0.45, lambda_u=2.0, lambda_in=3.0, temperature=0.2, smoothing=0.6, window=2, width=5
    )
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    train(method, batches, optimizer, last=4)  # 4 steps of 8 see 30 images
    bank, bank_y, means = method.bank.double(), method.bank_y.clone(), method.means.double()
    seen = bank_y >= 0
    assert 0 < seen.sum() < 30 and not seen[30:].any()
    batch = batches.next(4)
    x, u = batch.labelled.weak, batch.unlabelled

    def embed(model, projection, images):
        features, z = model(images, with_features=True)
        return z, F.normalize(projection(features), dim=1)

    with torch.no_grad():
        z, f = embed(method.model, method.projection, torch.cat([x, u.strong]))
        method.ema.module.train()
        z_teacher, f_teacher = embed(method.ema.module, method.projection_ema.module, torch.cat([x, u.weak]))
        method.ema.module.eval()
    p = z_teacher[8:].softmax(1)
    p = p / torch.stack([means[1], p.mean(0)]).mean(0)
    p = p / p.sum(1, keepdim=True)
    s = (f_teacher[8:] @ bank[seen].T / 0.2).softmax(1)
    student = (f[8:] @ bank[seen].T / 0.2).softmax(1)
    weighted = s * p[:, bank_y[seen]]
    weighted = weighted / weighted.sum(1, keepdim=True)
    by_class = torch.stack([s[:, bank_y[seen] == k].sum(1) for k in range(3)], dim=1)
    q = 0.6 * p + 0.4 * by_class
    chosen = q.amax(1) >= 0.45
    assert 0 < chosen.sum() < len(q)
    each = -(q * z[8:].log_softmax(1)).sum(1)
    terms = method.loss(batch)
    torch.testing.assert_close(terms["labelled"].detach(), F.cross_entropy(z[:8], batch.labelled.y))
    torch.testing.assert_close(terms["unlabelled"].detach(), 2 * (each * chosen).mean(), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        terms["similarities"].detach(), -3 * (weighted * student.log()).sum(1).mean(), rtol=1e-5, atol=0
    )
    row = batch.labelled.index[-1]
    torch.testing.assert_close(method.bank[row].double(), f_teacher[7], rtol=1e-5, atol=1e-7)
    assert method.bank_y[row] == batch.labelled.y[-1]


def test_simmatch_waits_for_the_first_pass_over_the_labelled_images():
    method = make_method("simmatch", threshold=0.0)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    losses = train(method, batches, optimizer, last=6)
    assert [step["similarities"] == 0 for step in losses] == [True] * 4 + [False] * 2


def test_simmatch_trains_its_projection():
    method = make_method("simmatch")
    parameters = {id(parameter) for parameter in method.trainable()}
    assert {id(p) for p in method.projection.parameters()} < parameters
    batches, optimizer = ToyBatches(method), torch.optim.SGD(list(method.trainable()), lr=0.1)
    train(method, batches, optimizer, last=4)
    before = [p.detach().clone() for p in method.projection.parameters()]
    averaged = [p.clone() for p in method.projection_ema.module.parameters()]
    train(method, batches, optimizer, 4, 5)
    assert all((p != q).any() for p, q in zip(method.projection.parameters(), before, strict=True))
    assert all((p != q).any() for p, q in zip(method.projection_ema.module.parameters(), averaged, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 1.0])
def test_simmatch_at_the_ends_of_its_smoothing(smoothing):
    method = make_method("simmatch", smoothing=smoothing, threshold=0.0)
    losses = train(method, ToyBatches(method), make_optimizer(method.model), last=8)
    assert all(math.isfinite(value) for step in losses for value in step.values())
