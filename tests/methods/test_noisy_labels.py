"""GCE, SCE, ELR, Co-teaching, DivideMix and the oracle against their equations."""

from __future__ import annotations

import copy
import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture
from torch.nn import functional as F

from methods.parts.loss_mixture import clean_probability
from methods.parts.network_pair import NetworkPair
from platform.core.registry import METHODS
from platform.core.spec import AXES, DataSettings, LabelSettings, TrainSettings, TrialSpec
from platform.data import open_dataset
from platform.data.label_plan import make_plan
from platform.training.trial import Trial
from tests.methods.toy import ToyBatches, ToyModel, make_method, make_optimizer, train


def given_labels(method):
    """Logits of the first batch, its labels, and the probability of the label."""
    batch = ToyBatches(method, wrong=0.4).next(0)
    z = method.model(batch.labelled.weak).detach()
    return batch, z, z.softmax(1).gather(1, batch.labelled.y[:, None])[:, 0]


def test_gce_by_hand():
    method = make_method("gce", q=0.7)
    batch, _, p = given_labels(method)
    torch.testing.assert_close(method.loss(batch).total().detach(), ((1 - p**0.7) / 0.7).mean())


def test_gce_lies_between_cross_entropy_and_mean_absolute_error():
    batch, z, p = given_labels(make_method("gce"))
    small, one = (make_method("gce", q=q).loss(batch).total().detach() for q in (1e-9, 1.0))
    torch.testing.assert_close(small, F.cross_entropy(z, batch.labelled.y), rtol=1e-6, atol=0)
    torch.testing.assert_close(one, (1 - p).mean())


def test_gce_survives_a_probability_of_zero():
    method = make_method("gce")
    logits = torch.tensor([[0.0, 2000.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(method._each(logits, torch.tensor([0])).sum(), logits)
    assert gradient.isfinite().all()


def test_truncated_gce_stops_teaching_doubtful_labels():
    method = make_method("gce", truncate=0.4, truncate_from=0.5)
    batch, _, p = given_labels(method)
    assert 0 < (p <= 0.4).sum() < len(p)
    full = ((1 - p**0.7) / 0.7).mean()
    torch.testing.assert_close(method.loss(batch).total().detach(), full)  # step 0 of 50: not yet
    batch.step = 25
    cut = ((1 - p.clamp(min=0.4) ** 0.7) / 0.7).mean()
    torch.testing.assert_close(method.loss(batch).total().detach(), cut)


def test_sce_by_hand():
    method = make_method("sce", alpha=0.3, beta=2.0, log_zero=math.log(1e-4))
    batch, z, p = given_labels(method)
    log_y = F.one_hot(batch.labelled.y, 3).double().clamp(min=1e-4).log()
    terms = method.loss(batch)
    torch.testing.assert_close(terms["cross_entropy"].detach(), -0.3 * p.log().mean())
    torch.testing.assert_close(terms["reverse"].detach(), -2 * (z.softmax(1) * log_y).sum(1).mean())


def test_elr_by_hand_over_two_visits():
    method = make_method("elr", beta=0.6, lambda_t=2.0)
    batch = ToyBatches(method, wrong=0.4).next(0)
    target = torch.zeros(150, 3)
    for _ in range(2):
        z = method.model(batch.labelled.weak)
        p = z.softmax(1)
        index = batch.labelled.index
        assert len(set(index.tolist())) < len(index)  # an image twice: one entry, its last prediction
        old = target.clone()
        for row, i in enumerate(index.tolist()):
            target[i] = 0.6 * old[i] + 0.4 * p[row].detach().float()
        terms = method.loss(batch)
        torch.testing.assert_close(method.targets, target)
        expected = 2 * torch.log(1 - (p * target[index]).sum(1)).mean()
        torch.testing.assert_close(terms["early"], expected, rtol=1e-5, atol=0)
        torch.testing.assert_close(terms["labelled"], F.cross_entropy(z, batch.labelled.y))
        gradients = torch.autograd.grad(terms["early"], list(method.model.parameters()))
        assert all(gradient.isfinite().all() for gradient in gradients)
    assert not method.targets.requires_grad


def test_co_teaching_exchanges_the_easy_images():
    method = make_method("co_teaching", forget_rate=0.5, forget_ramp=0.0)
    batch = ToyBatches(method, wrong=0.4).next(0)
    losses = [
        F.cross_entropy(network(batch.labelled.weak), batch.labelled.y, reduction="none").detach()
        for network in (method.model, method.second.model)
    ]
    easy = [each.argsort()[:4] for each in losses]
    assert set(easy[0].tolist()) != set(easy[1].tolist())
    right = (batch.labelled.true == batch.labelled.y)[easy[0]].double().mean()
    terms = method.step(batch, make_optimizer(method.model))
    torch.testing.assert_close(terms["first"].detach(), losses[0][easy[1]].mean())
    torch.testing.assert_close(terms["second"].detach(), losses[1][easy[0]].mean())
    assert method.read_records()["label_precision"] == pytest.approx(right.item())


def test_co_teaching_forgets_gradually():
    method = make_method("co_teaching", forget_rate=0.4, forget_ramp=0.2)  # 50 steps: full at step 10
    assert [method.kept(step, 20) for step in (0, 5, 10, 49)] == [20, 16, 12, 12]
    assert make_method("co_teaching", forget_rate=0.99, forget_ramp=0.0).kept(0, 4) == 1


@pytest.mark.parametrize("name", ["co_teaching", "dividemix"])
def test_the_second_network_follows_the_schedule_of_the_first(name):
    method = make_method(name)
    method.setup = dataclasses.replace(method.setup, grad_clip=1e-3)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    before = [[p.detach().clone() for p in network.parameters()] for network in (method.model, method.second.model)]
    assert not all(torch.equal(a, b) for a, b in zip(*before, strict=True))  # another random start
    optimizer.param_groups[0]["lr"] = 0.0
    method.step(batches.next(0), optimizer)
    for network, old in zip((method.model, method.second.model), before, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(network.parameters(), old, strict=True))
    optimizer.param_groups[0]["lr"] = 0.01
    method.step(batches.next(1), optimizer)
    for network, old in zip((method.model, method.second.model), before, strict=True):
        moved = torch.cat([(p - q).flatten() for p, q in zip(network.parameters(), old, strict=True)]).norm()
        assert 0 < moved < 1e-3  # lr 0.01, clipped at 1e-3, decay and momentum on top


def test_two_networks_are_evaluated_as_one():
    first, second = ToyModel(0).eval(), ToyModel(1).eval()
    both, x = NetworkPair(first, second), torch.randn(5, 1, 4, 4, dtype=torch.float64)
    features, logits = both(x, with_features=True)
    torch.testing.assert_close(logits, (first(x) + second(x)) / 2)
    torch.testing.assert_close(both(x), logits)
    torch.testing.assert_close(F.linear(features, both.head.weight, both.head.bias), logits)
    assert torch.equal(features, both.features(x)) and features.shape == (5, 24)


def test_dividemix_is_evaluated_by_both_averages():
    method = make_method("dividemix", model_ema=0.5)
    batches = ToyBatches(method)
    train(method, batches, make_optimizer(method.model), last=3)
    x = batches.images[:4]
    expected = (method.ema.module(x) + method.second.ema.module(x)) / 2
    torch.testing.assert_close(method.eval_model(x), expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 0.7), st.floats(3.0, 6.0))
def test_the_mixture_is_scikit_learns_where_the_two_kinds_lie_apart(seed, share, distance):
    rng = np.random.default_rng(seed)
    count = int(400 * share)
    losses = np.concatenate([rng.exponential(0.3, count), rng.gamma(8, distance / 8, 400 - count)])
    scaled = ((losses - losses.min()) / (losses.max() - losses.min()))[:, None]
    ours = clean_probability(torch.tensor(losses)).numpy()
    start = np.array([[scaled[ours > 0.5].mean()], [scaled[ours <= 0.5].mean()]])
    theirs = GaussianMixture(2, max_iter=1000, tol=1e-10, reg_covar=5e-4, means_init=start).fit(scaled)
    expected = theirs.predict_proba(scaled)[:, theirs.means_.argmin()]
    assert np.abs(ours - expected).max() < 0.02


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("noise", [0.2, 0.6])
def test_the_stopped_mixture_is_scikit_learns(seed, noise):
    """Overlapping kinds, 10 rounds or 1e-2: where the release stops, which is not where the mixture converges."""
    rng = np.random.default_rng(seed)
    wrong = int(1000 * noise)
    losses = np.concatenate([rng.gamma(1.5, 0.5, 1000 - wrong), rng.gamma(6, 0.4, wrong)])
    x = ((losses - losses.min()) / (losses.max() - losses.min()))[:, None]
    ours = clean_probability(torch.tensor(losses), rounds=10, tolerance=1e-2).numpy()
    centre, near = np.array([0.0, 1.0]), np.zeros(1000, int)
    for _ in range(60):  # 2-means from the extremes: scikit-learn's own start is drawn
        near = np.abs(x - centre).argmin(1)
        centre = np.array([x[near == k].mean() for k in range(2)])
    start = {
        "weights_init": np.bincount(near) / 1000,
        "means_init": centre[:, None],
        "precisions_init": [[[1 / (x[near == k].var() + 5e-4)]] for k in range(2)],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it did not converge, as meant
        found = [
            GaussianMixture(2, max_iter=rounds, tol=tol, reg_covar=5e-4, **start).fit(x)
            for rounds, tol in ((10, 1e-2), (2000, 1e-12))
        ]
    theirs, converged = (mixture.predict_proba(x)[:, mixture.means_.argmin()] for mixture in found)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert found[0].n_iter_ <= 10 and np.abs(converged - theirs).max() > 0.05


def test_the_mixture_by_hand():
    """Losses 0, 0.2, 0.9, 1: 2-means gives (0, 0.2) and (0.9, 1); one round of EM, then the posterior."""
    x = torch.tensor([0.0, 0.2, 0.9, 1.0], dtype=torch.float64)

    def posterior(mean, variance, prior):
        density = [
            p * math.exp(-((x[3] - m) ** 2) / (2 * v)) / v**0.5 for m, v, p in zip(mean, variance, prior, strict=True)
        ]
        return density[0] / sum(density)

    expected = posterior((0.1, 0.95), (0.01 + 5e-4, 0.0025 + 5e-4), (0.5, 0.5))
    found = clean_probability(x, rounds=0)
    assert found[3].item() == pytest.approx(float(expected), rel=1e-6) and found[0] > 0.999
    assert torch.equal(
        clean_probability(x, rounds=50, tolerance=torch.inf), clean_probability(x, rounds=2, tolerance=0)
    )


def test_dividemix_partners_guess_in_eval_mode():
    """(p_k in train mode + p of the other in eval mode) / 2, for what is not kept."""
    method = make_method("dividemix", temperature=1.0, clean_threshold=0.5, partner="eval")
    batches, optimizer = ToyBatches(method, wrong=0.4), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 6)
    method.clean[:] = 0.2
    batch, seen, original = batches.next(6), [], method._loss
    views, networks = torch.cat(batch.labelled.views), (method.model, method.second.model)
    with torch.no_grad():
        live, fixed = (
            [sum(copy.deepcopy(net).train(mode)(views).softmax(1).chunk(2)) / 2 for net in networks]
            for mode in (True, False)
        )
    assert not torch.allclose(live[0], fixed[0], atol=1e-3)
    method._loss = lambda network, labelled, target, *rest: (
        seen.append(target) or original(network, labelled, target, *rest)
    )
    method.step(batch, optimizer)
    torch.testing.assert_close(seen[0], (live[0] + fixed[1]) / 2)
    torch.testing.assert_close(seen[1], (live[1] + fixed[0]) / 2)
    assert all(net.training for net in networks)


def test_dividemix_averages_the_losses_of_epochs():
    method = make_method("dividemix", loss_epochs=3)
    images = method.losses.shape[1]
    drawn = [torch.rand(2, images, generator=torch.Generator().manual_seed(k)) * 3 for k in range(5)]
    drawn[3][:, 7] = -1  # not seen in that epoch
    drawn[4][:, 9] = -1
    for losses in drawn:
        method.losses.copy_(losses)
        method._divide()
    for k in range(2):
        scaled = []
        for losses in drawn[2:]:
            known = losses[k][losses[k] >= 0]
            scaled.append((losses[k] - known.min()) / (known.max() - known.min()))
        mean = torch.stack(scaled).mean(dim=0)
        mean[7], mean[9] = (scaled[0][7] + scaled[2][7]) / 2, (scaled[0][9] + scaled[1][9]) / 2
        expected = clean_probability(mean, rounds=10, tolerance=1e-2)
        torch.testing.assert_close(method.clean[k], expected, rtol=1e-4, atol=1e-5)


def test_losses_that_were_not_seen_count_as_clean():
    losses = torch.tensor([0.1, 0.2, 0.15, 3.0, 3.2, -1.0])
    assert (clean_probability(losses) > 0.5).tolist() == [True, True, True, False, False, True]
    assert clean_probability(torch.full((4,), -1.0)).tolist() == [1, 1, 1, 1]
    assert clean_probability(torch.full((4,), 2.0)).isfinite().all()


def test_dividemix_refines_and_guesses(monkeypatch):
    method = make_method("dividemix", temperature=1.0, clean_threshold=0.5, partner="train")
    batches, optimizer = ToyBatches(method, wrong=0.4), make_optimizer(method.model)
    train(method, batches, optimizer, 0, 6)  # warm-up is 5 steps, an epoch 4
    assert (method.clean < 1).any()
    batch = batches.next(6)
    method.clean[0, :], method.clean[1, :] = 0.2, 0.9  # network 1 trusts every label (by the second's losses), 2 none
    x1, x2 = batch.labelled.views
    with torch.no_grad():
        p = [(net(torch.cat([x1, x2])).softmax(1).chunk(2)) for net in (method.model, method.second.model)]
    p = [(a + b) / 2 for a, b in p]
    seen = []
    original = method._loss

    def spy(network, labelled, target, kept, weight):
        seen.append((target, kept))
        return original(network, labelled, target, kept, weight)

    monkeypatch.setattr(method, "_loss", spy)
    method.step(batch, optimizer)
    y = F.one_hot(batch.labelled.y, 3).double()
    torch.testing.assert_close(seen[0][0], 0.9 * y + 0.1 * p[0], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(seen[1][0], (p[0] + p[1]) / 2)
    assert seen[0][1].all() and not seen[1][1].any()
    position = batch.labelled.index[-1]
    torch.testing.assert_close(method.losses[0, position].double(), -(y * p[0].log())[-1].sum(), rtol=1e-5, atol=0)


def test_dividemix_divides_once_per_epoch():
    method = make_method("dividemix", warmup=0.2)  # 10 of 50 steps; 30 images in batches of 8: an epoch is 4 steps
    batches, optimizer = ToyBatches(method, wrong=0.4), make_optimizer(method.model)
    changed = []
    for step in range(20):
        before = method.clean.clone()
        train(method, batches, optimizer, step, step + 1)
        if not torch.equal(method.clean, before):
            changed.append(step)
    assert changed == [10, 14, 18]


@pytest.mark.slow
def test_dividemix_tells_wrong_labels_from_right_ones_on_digits():
    seeds = dict.fromkeys(AXES, 0)
    data, labels = DataSettings(), LabelSettings(noise="symmetric", rate=0.4)
    found = METHODS.get("dividemix")
    spec = TrialSpec(
        method="dividemix",
        hyper=found.Hyper(model_ema=0.99).model_dump(),
        model="small_cnn",
        train=TrainSettings(steps=240, evaluations=2),
        data=data,
        labels=labels,
        seeds=seeds,
    )
    dataset = open_dataset(data)
    metrics = [report.metrics for report in Trial(spec, dataset, make_plan(dataset, labels, seeds), found).reports()]
    assert metrics[-1]["diag/label_precision"] > 0.95 and metrics[-1]["diag/label_recall"] > 0.9


def test_dividemix_warm_up_can_hold_back_confidence():
    batch = ToyBatches(make_method("dividemix")).next(0)
    method = make_method("dividemix", confidence_penalty=2.0)
    p = method.model(batch.labelled.views[0]).detach().softmax(1)
    term = method._warm_up(batch.labelled)[0]["confidence"]
    torch.testing.assert_close(term.detach(), 2 * (p * p.log()).sum(1).mean())


def test_an_oracle_learns_from_true_labels_where_they_are_known():
    method = make_method("oracle")
    batch, z, _ = given_labels(method)
    true = batch.labelled.true
    assert (true != batch.labelled.y).any()
    torch.testing.assert_close(method.loss(batch).total().detach(), F.cross_entropy(z, true))
    batch.labelled.true = torch.where(torch.arange(8) < 3, true, -1)
    torch.testing.assert_close(method.loss(batch).total().detach(), F.cross_entropy(z[:3], true[:3]))
    batch.labelled.true = torch.full((8,), -1)
    assert method.loss(batch).total() == 0
