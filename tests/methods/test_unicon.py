"""UNICON against its equations."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from methods.parts.mixing import mix_near
from methods.parts.ranks import ranks_within
from methods.unicon.contrastive_loss import contrast
from tests.methods.toy import ToyBatches, make_method, make_optimizer, train


def test_ranks_are_within_classes():
    score = torch.tensor([0.1, 0.9, 0.5, 0.3, 0.8, 0.2])
    y = torch.tensor([1, 0, 1, -1, 1, 0])
    assert ranks_within(score, y, torch.tensor([2, 3])).tolist() == [2, 0, 1, 0, 0, 1]


def test_the_divergence_is_jensen_and_shannons():
    method = make_method("unicon")
    batch = ToyBatches(method, wrong=0.4).next(0)
    x, y = batch.labelled.views[:2], F.one_hot(batch.labelled.y, 3).double()
    with torch.no_grad():
        p = torch.stack([net(torch.cat(x)).softmax(1) for net in (method.model, method.second.model)]).mean(0)
    p = (p[:8] + p[8:]) / 2
    m = (p + y) / 2
    kl = [(a * ((a + 1e-300) / m).log()).sum(1) for a in (p, y)]
    method.step(batch, make_optimizer(method.model))
    last = batch.labelled.index[-1]
    torch.testing.assert_close(method.divergence[last].double(), (kl[0] + kl[1])[-1] / 2, rtol=1e-5, atol=1e-7)
    assert method.given[last] == batch.labelled.y[-1]


def test_labels_are_divided_evenly_over_the_classes():
    method = make_method("unicon", cutoff=0.7)
    d = [0.1, 0.2, 0.3, 0.6, 0.1, 0.5, 0.6, 0.6, 0.05, 0.3, 0.6, 0.65]
    method.divergence[:12] = torch.tensor(d)
    method.given[:12] = torch.arange(3).repeat_interleave(4)
    # mean 0.38: six lie below, two a class; in the second class one of these lies above
    clean = method.divide()
    assert clean[:12].nonzero().flatten().tolist() == [0, 1, 4, 5, 8, 9] and clean[12:].all()
    strict = make_method("unicon", cutoff=0.2, filter=2.0)
    strict.divergence[:12], strict.given[:12] = torch.tensor(d), method.given[:12]
    # limit 0.38 - (0.38 - 0.05) / 2 = 0.22: four lie below, one a class
    assert strict.divide()[:12].nonzero().flatten().tolist() == [0, 4, 8]


def test_the_contrastive_loss_by_hand():
    generator = torch.Generator().manual_seed(2)
    embedding = torch.randn(8, 5, generator=generator, dtype=torch.float64)
    weight = torch.tensor([1.0, 0, 1, 1] * 2, dtype=torch.float64)
    unit = embedding / embedding.norm(dim=1, keepdim=True)
    rows, total = [0, 2, 3, 4, 6, 7], 0.0
    for i in rows:
        similarities = {j: float(unit[i] @ unit[j]) / 0.05 for j in rows if j != i}
        total -= similarities[(i + 4) % 8] - math.log(sum(math.exp(s) for s in similarities.values()))
    assert contrast(embedding, weight).item() == pytest.approx(total / 6, rel=1e-9)
    assert contrast(embedding, torch.zeros(8)).item() == 0


def test_a_step_on_both_parts_by_hand():
    method = make_method("unicon", warmup=0.0, temperature=0.5, alpha=2.0, lambda_u=3.0, lambda_c=0.2, ramp=0.0)
    batches, optimizer = ToyBatches(method, wrong=0.4), make_optimizer(method.model)
    train(method, batches, optimizer, last=5)  # an epoch of warm-up is 4 steps; one after it
    method.clean[:30] = (torch.arange(30) % 2).float()
    batch, frozen = batches.next(5), copy.deepcopy(method)
    generator = torch.Generator()
    generator.set_state(method.generator.get_state())
    views, y, index = batch.labelled.views, F.one_hot(batch.labelled.y, 3).double(), batch.labelled.index
    with torch.no_grad():
        g = [net(torch.cat(views[:2])).softmax(1) for net in (frozen.model, frozen.second.model)]
    g = [(each[:8] + each[8:]) / 2 for each in g]
    terms = method.step(batch, optimizer)
    d = method.divergence[index, None].double()
    clean, w = (index % 2).double(), torch.where(d < 0.5, 1.0, 1 - d)
    expected = {"labelled": 0.0, "unlabelled": 0.0, "balance": 0.0, "contrast": 0.0}
    for k, net in enumerate((frozen.model, frozen.second.model)):
        t = torch.where(clean[:, None] == 1, w * y + (1 - w) * g[k], (g[0] + g[1]) / 2) ** 2
        t = t / t.sum(1, keepdim=True)
        x, t = mix_near(torch.cat(views[2:]), torch.cat([t, t]), 2.0, generator)
        z = net(x).detach()
        kept, p = torch.cat([clean, clean]), z.softmax(1)
        expected["labelled"] += -(t * z.log_softmax(1)).sum(1)[kept == 1].mean() / 2
        expected["unlabelled"] += 3 * ((p - t) ** 2).mean(1)[kept == 0].mean() / 2
        expected["balance"] += (1 / 3 * (1 / 3 / p.mean(0)).log()).sum() / 2
        features = net.features(torch.cat(views[2:])).detach()
        expected["contrast"] += 0.2 * contrast(frozen.projections[k](features), 1 - kept).detach() / 2
    for name, value in expected.items():
        torch.testing.assert_close(terms[name].detach(), value, rtol=1e-5, atol=1e-8)


def test_the_projections_follow_the_schedule_and_move_after_the_warm_up():
    method = make_method("unicon", warmup=0.0)
    batches, optimizer = ToyBatches(method, wrong=0.4), make_optimizer(method.model)
    before = [p.detach().clone() for p in method.projections.parameters()]
    train(method, batches, optimizer, last=4)
    assert all(torch.equal(p, q) for p, q in zip(method.projections.parameters(), before, strict=True))
    optimizer.param_groups[0]["lr"] = 0.0
    train(method, batches, optimizer, 4, 5)
    assert all(torch.equal(p, q) for p, q in zip(method.projections.parameters(), before, strict=True))
    optimizer.param_groups[0]["lr"] = 0.1
    train(method, batches, optimizer, 5, 6)
    assert all((p != q).any() for p, q in zip(method.projections[0][0].parameters(), before[:2], strict=True))
