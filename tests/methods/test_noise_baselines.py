"""ELR+, JoCoR, label smoothing, GJS, SOP, forward correction and confident learning against their equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from methods.confident_learning import pruned
from methods.forward_correction import parse_matrix
from methods.parts.mixing import sample_beta
from tests.methods.toy import ToyBatches, make_method, make_optimizer, train


def first_batch(method, wrong=0.4):
    return ToyBatches(method, wrong=wrong).next(0)


# -- ELR+ --------------------------------------------------------------------------------------------------------------


def test_elr_plus_by_hand_over_two_visits():
    method = make_method("elr_plus", beta=0.6, lambda_t=2.0, alpha=1.0, ramp=0.5)
    batch = first_batch(method)
    x, y, index = batch.labelled.weak, batch.labelled.y, batch.labelled.index.tolist()
    generator = torch.Generator().manual_seed(0)
    targets = torch.zeros(2, 150, 3, dtype=torch.float64)
    for step in (5, 20):
        batch.step = step
        expected = []
        networks, averages = (method.model, method.second.model), (method.second.ema.module, method.ema.module)
        for k, (network, teacher) in enumerate(zip(networks, averages, strict=True)):
            lam = sample_beta(1.0, generator)
            lam = max(lam, 1 - lam)
            order = torch.randperm(8, generator=generator)
            z = network(lam * x + (1 - lam) * x[order]).detach()
            teacher.train()
            q, old = teacher(x).softmax(1), targets[k].clone()
            teacher.eval()
            for row, i in enumerate(index):
                targets[k, i] = 0.6 * old[i] + 0.4 * q[row]
            t = lam * targets[k, index] + (1 - lam) * targets[k][index][order]
            soft = lam * F.one_hot(y, 3) + (1 - lam) * F.one_hot(y[order], 3)
            weight = 2 * math.exp(-5 * (1 - step / 25) ** 2)
            early = torch.log(1 - (z.softmax(1) * t).sum(1)).mean()
            expected.append((-(soft * z.log_softmax(1)).sum(1).mean(), weight * early))
        terms = method.step(batch, make_optimizer(method.model))
        torch.testing.assert_close(terms["labelled"].detach(), (expected[0][0] + expected[1][0]) / 2)
        torch.testing.assert_close(terms["early"].detach(), (expected[0][1] + expected[1][1]) / 2, rtol=1e-5, atol=0)
        torch.testing.assert_close(method.targets.double(), targets, rtol=1e-5, atol=1e-7)


def test_elr_plus_is_evaluated_by_both_averages_and_has_no_ramp_by_default():
    method = make_method("elr_plus")
    batches = ToyBatches(method)
    terms = train(method, batches, make_optimizer(method.model), last=2)
    assert terms[0]["early"] < 0
    x = batches.images[:4]
    expected = (method.ema.module(x) + method.second.ema.module(x)) / 2
    torch.testing.assert_close(method.eval_model(x), expected)


# -- JoCoR -------------------------------------------------------------------------------------------------------------


def test_jocor_by_hand():
    method = make_method("jocor", co_lambda=0.7, forget_rate=0.5, forget_ramp=0.0)
    batch = first_batch(method)
    y = batch.labelled.y
    p, q = (net(batch.labelled.weak).softmax(1) for net in (method.model, method.second.model))
    divergence = (p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)
    rows = torch.arange(8)
    joint = 0.3 * (-p[rows, y].log() - q[rows, y].log()) + 0.7 * divergence
    chosen = joint.argsort()[:4]
    loss = joint[chosen].mean()
    parameters = [list(net.parameters()) for net in (method.model, method.second.model)]
    expected = torch.autograd.grad(loss, parameters[0] + parameters[1])
    right = (batch.labelled.true == y)[chosen].double().mean()
    optimizer = torch.optim.SGD(method.model.parameters(), lr=0.0)
    method.second.optimizer.param_groups[0]["lr"] = 0.0
    terms = method.step(batch, optimizer)
    torch.testing.assert_close(terms["labelled"], loss)
    for parameter, gradient in zip(parameters[0] + parameters[1], expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert method.read_records()["label_precision"] == pytest.approx(right.item())


# -- label smoothing and GJS -------------------------------------------------------------------------------------------


def test_label_smoothing_by_hand():
    method = make_method("label_smoothing", smoothing=0.3)
    batch = first_batch(method)
    z = method.model(batch.labelled.weak)
    soft = 0.7 * F.one_hot(batch.labelled.y, 3) + 0.1
    torch.testing.assert_close(method.loss(batch).total(), -(soft * z.log_softmax(1)).sum(1).mean())


def test_gjs_of_numbers_by_hand():
    """pi = (0.5, 0.25, 0.25), y = (1, 0), p1 = (0.5, 0.5), p2 = (0.25, 0.75): m = (11/16, 5/16)."""
    method = make_method("gjs", label_weight=0.5)
    batch = first_batch(method)
    batch.labelled.y = torch.zeros(1, dtype=torch.long)
    logits = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64).log()
    method.model.forward = lambda x: logits
    m = (11 / 16, 5 / 16)
    expected = 0.5 * math.log(1 / m[0])
    expected += 0.25 * (0.5 * math.log(0.5 / m[0]) + 0.5 * math.log(0.5 / m[1]))
    expected += 0.25 * (0.25 * math.log(0.25 / m[0]) + 0.75 * math.log(0.75 / m[1]))
    assert method.loss(batch).total().item() == pytest.approx(expected / (0.5 * math.log(2)), rel=1e-12)


def test_gjs_is_the_entropy_of_the_mean_less_the_mean_of_entropies():
    method = make_method("gjs", label_weight=0.3)
    batch = first_batch(method)
    assert batch.labelled.names == ("strong", "strong")
    p = method.model(torch.cat(batch.labelled.views)).softmax(1).chunk(2)
    m = 0.3 * F.one_hot(batch.labelled.y, 3) + 0.35 * p[0] + 0.35 * p[1]
    h = [-(d * d.log()).sum(1) for d in (m, *p)]
    expected = (h[0] - 0.35 * h[1] - 0.35 * h[2]).mean() / (-0.7 * math.log(0.7))
    torch.testing.assert_close(method.loss(batch).total(), expected)


@pytest.mark.parametrize(("weight", "limit"), [(1e-7, "cross-entropy"), (1 - 1e-7, "absolute error")])
def test_js_lies_between_cross_entropy_and_mean_absolute_error(weight, limit):
    method = make_method("gjs", label_weight=weight, num_views=1, view="weak")
    batch = first_batch(method)
    z = method.model(batch.labelled.weak).detach()
    p = z.softmax(1).gather(1, batch.labelled.y[:, None])
    expected = F.cross_entropy(z, batch.labelled.y) if limit == "cross-entropy" else (1 - p).mean()
    close = {"cross-entropy": 1e-3, "absolute error": 0.2}[limit]  # the latter is reached as 1 / log(1 - weight)
    torch.testing.assert_close(method.loss(batch).total().detach(), expected, rtol=close, atol=0)


# -- SOP ---------------------------------------------------------------------------------------------------------------


def test_sop_by_hand():
    method = make_method("sop", lr_u=2.0, lr_v=3.0)
    batch = first_batch(method)
    y, index = batch.labelled.y, batch.labelled.index
    index[:] = torch.tensor([3, 5, 7, 9, 11, 13, 13, 2])  # one image twice: its rows move by both
    generator = torch.Generator().manual_seed(1)
    method.u.copy_(torch.rand(150, 1, generator=generator))
    method.v.copy_(torch.rand(150, 3, generator=generator) * 0.5)
    u, v = method.u.double().requires_grad_(), method.v.double().requires_grad_()
    onehot = F.one_hot(y, 3).double()
    z = method.model(batch.labelled.weak).detach()
    added, taken = u[index] ** 2 * onehot, v[index] ** 2 * (1 - onehot)
    q = (z.softmax(1) + added - taken.detach()).clamp(min=1e-4)
    q = q / q.sum(1, keepdim=True)
    labelled = -q[torch.arange(8), y].log().mean()
    noise = ((F.one_hot(z.argmax(1), 3) + added - taken - onehot) ** 2).sum(1).mean()
    slopes = torch.autograd.grad(labelled + noise, (u, v))
    terms = method.step(batch, make_optimizer(method.model))
    torch.testing.assert_close(terms["labelled"].detach(), labelled.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["noise"].detach(), noise.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(method.u.double(), (u - 2 * slopes[0]).detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(method.v.double(), (v - 3 * slopes[1]).detach(), rtol=1e-5, atol=1e-6)


def test_sop_takes_up_a_wrong_label():
    method = make_method("sop", lr_u=30.0, lr_v=30.0)
    batches = ToyBatches(method, wrong=0.3)
    train(method, batches, make_optimizer(method.model), last=50)
    wrong = (batches.given != batches.true)[:30]
    term = (method.u[:30, 0] ** 2).clamp(max=1)
    assert term[wrong].mean() > 2 * term[~wrong].mean()


# -- forward correction ------------------------------------------------------------------------------------------------


def test_forward_correction_by_hand():
    method = make_method("forward_correction", transition="0.6 0.3 0.1; 0 1 0; 0.25 0.25 0.5")
    batch = first_batch(method)
    matrix = torch.tensor([[0.6, 0.3, 0.1], [0, 1, 0], [0.25, 0.25, 0.5]], dtype=torch.float64)
    p = method.model(batch.labelled.weak).softmax(1)
    expected = -(p @ matrix)[torch.arange(8), batch.labelled.y].log().mean()
    torch.testing.assert_close(method.loss(batch).total(), expected, rtol=1e-6, atol=0)


def test_a_known_identity_is_cross_entropy():
    method = make_method("forward_correction", transition="1 0 0; 0 1 0; 0 0 1")
    batch = first_batch(method)
    expected = F.cross_entropy(method.model(batch.labelled.weak), batch.labelled.y)
    torch.testing.assert_close(method.loss(batch).total(), expected)


def test_the_transition_matrix_is_read_at_confident_images():
    predictions = torch.tensor([[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.1, 0.3, 0.6]])
    largest = make_method("forward_correction", quantile=1.0)
    largest.predictions[:5] = predictions
    torch.testing.assert_close(largest.estimate(), predictions[[0, 3, 4]])
    # 30 images, 25 of them not seen: of 30 values, ceil(0.97 * 29) = 29 lie below the 97th percentile (rounded up)
    below = make_method("forward_correction", quantile=0.97)
    below.predictions[:5] = predictions
    torch.testing.assert_close(below.estimate(), predictions[[1, 2, 2]])


def test_the_quantile_is_numpys():
    method = make_method("forward_correction", quantile=0.9)
    predictions = torch.rand(30, 3, generator=torch.Generator().manual_seed(0)) + 0.01
    method.predictions[:30] = predictions
    for number, row in enumerate(method.estimate()):
        values = predictions[:, number].numpy()
        left = np.where(values >= np.percentile(values, 90, method="higher"), 0, values)
        torch.testing.assert_close(row, predictions[left.argmax()] / predictions[left.argmax()].sum())


def test_classes_of_which_nothing_was_seen_keep_their_labels():
    method = make_method("forward_correction")
    torch.testing.assert_close(method.estimate(), torch.eye(3))


def test_the_matrix_is_estimated_once():
    method = make_method("forward_correction", estimate_at=0.2)
    batches, optimizer = ToyBatches(method, wrong=0.3), make_optimizer(method.model)
    train(method, batches, optimizer, last=10)
    assert torch.equal(method.transition, torch.eye(3))
    train(method, batches, optimizer, 10, 11)
    found = method.transition.clone()
    assert not torch.equal(found, torch.eye(3)) and torch.allclose(found.sum(1), torch.ones(3))
    train(method, batches, optimizer, 11, 14)
    assert torch.equal(method.transition, found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0.6 0.4; ", "row 2 is empty; each row has 2 probabilities"),
        ("0.6 0.4; 0.2 x", "row 2 holds something else than numbers: 0.2 x"),
        ("0.6 0.4; 0.2 0.7", "row 2 sums to 0.9; probabilities sum to 1"),
        ("0.6 0.4; 0.2 0.4 0.4", "row 2 has 3 numbers; there are 2 rows"),
        ("1.5 -0.5; 0 1", "row 1 sums to 1; probabilities"),
    ],
)
def test_a_matrix_that_is_none(text, words):
    with pytest.raises(ValueError, match="transition: row"):
        parse_matrix(text)
    with pytest.raises(ValidationError) as caught:
        make_method("forward_correction", transition=text)
    assert words in str(caught.value)


def test_a_matrix_of_another_number_of_classes():
    with pytest.raises(ValueError, match="2 rows for 3 classes"):
        make_method("forward_correction", transition="0.6 0.4; 0.2 0.8")


# -- confident learning ------------------------------------------------------------------------------------------------


P = torch.tensor(
    [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9], [0.75, 0.25], [0.4, 0.6]],
    dtype=torch.float64,
)
Y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
"""Thresholds t = (0.65, 0.6375). Confident: rows 0, 1 and 6 as class 0; rows 2, 4 and 5 as class 1; 3 and 7 as none.
C = [[2, 1], [1, 2]], n = (4, 4): Q = [[8/3, 4/3], [4/3, 8/3]]: one label of each class is pruned."""


def test_the_confident_joint_by_hand():
    assert pruned(P, Y, "off_diagonal").nonzero().flatten().tolist() == [2, 6]
    assert pruned(P, Y, "class").nonzero().flatten().tolist() == [2, 6]
    assert pruned(P, Y, "noise_rate").nonzero().flatten().tolist() == [2, 6]


def test_what_was_not_seen_is_kept_and_counts_for_nothing():
    more, labels = torch.cat([torch.zeros(3, 2, dtype=torch.float64), P]), torch.cat([torch.full((3,), -1), Y])
    for how in ("off_diagonal", "class", "noise_rate"):
        assert pruned(more, labels, how).nonzero().flatten().tolist() == [5, 9]
    assert not pruned(P, torch.zeros_like(Y) + 1, "class").any()  # of class 0 no label is there, and none confident


@pytest.mark.parametrize("how", ["class", "noise_rate", "off_diagonal"])
def test_pruning_against_loops(how):
    rng = np.random.default_rng(3)
    p = rng.dirichlet((0.6, 0.6, 0.6, 0.6), 120)
    y = np.where(rng.random(120) < 0.7, p.argmax(1), rng.integers(0, 4, 120))
    t = [p[y == k, k].mean() for k in range(4)]
    c, off = np.zeros((4, 4)), set()
    for n in range(120):
        above = [k for k in range(4) if p[n, k] >= t[k]]
        if above:
            j = max(above, key=lambda k: p[n, k])
            c[y[n], j] += 1
            off |= {n} if j != y[n] else set()
    q = c / c.sum(1, keepdims=True) * np.bincount(y)[:, None]
    gone = set(off) if how == "off_diagonal" else set()
    for i in range(4):
        members = np.flatnonzero(y == i)
        if how == "class":
            gone |= set(sorted(members, key=lambda n: p[n, i])[: round(q[i].sum() - q[i, i])])
        for j in range(4):
            if how == "noise_rate" and j != i:
                gone |= set(sorted(members, key=lambda n: p[n, i] - p[n, j])[: round(q[i, j])])
    found = pruned(torch.from_numpy(p), torch.from_numpy(y), how).nonzero().flatten().tolist()
    assert found == sorted(gone) and 5 < len(found) < 100


def test_confident_learning_holds_out_what_it_judges():
    method = make_method("confident_learning")
    batch = first_batch(method)
    index, y = batch.labelled.index, batch.labelled.y
    even = index % 2 == 0
    z = [net(batch.labelled.weak).detach() for net in (method.model, method.second.model)]
    losses = [F.cross_entropy(each, y, reduction="none") for each in z]
    terms = method.step(batch, make_optimizer(method.model))
    torch.testing.assert_close(terms["labelled"].detach(), losses[0][even].mean())
    torch.testing.assert_close(terms["second"].detach(), losses[1][~even].mean())
    row = len(index) - 1
    other = z[1 if even[row] else 0][row].softmax(0)
    torch.testing.assert_close(method.predictions[index[row]].double(), other, rtol=1e-6, atol=1e-7)
    assert method.given[index[row]] == y[row]


def test_confident_learning_goes_on_with_the_labels_that_are_left():
    method = make_method("confident_learning", prune_at=0.2)
    batches, optimizer = ToyBatches(method, wrong=0.3), make_optimizer(method.model)
    train(method, batches, optimizer, last=10)
    expected = ~pruned(method.predictions, method.given, "noise_rate")
    batch = batches.next(10)
    kept = expected[batch.labelled.index].double()
    losses = F.cross_entropy(method.model(batch.labelled.weak).detach(), batch.labelled.y, reduction="none")
    terms = method.take_step(batch, optimizer)
    assert torch.equal(method.kept.bool(), expected)
    torch.testing.assert_close(terms["labelled"].detach(), (kept * losses).sum() / kept.sum())
    assert method.read_records()["kept_share"] == pytest.approx(kept.mean().item())
