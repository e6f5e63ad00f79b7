"""L2RW and MW-Net against their equations: on a linear network every gradient is an outer product."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.methods.toy import CHANNELS, CLASSES, SIDE, ToyBatches, make_method, train


class LinearModel(nn.Module):
    """z = W x + b, with the interface of the platform's models."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(CHANNELS * SIDE * SIDE, CLASSES, dtype=torch.float64)
        generator = torch.Generator().manual_seed(5)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0, 0.3, generator=generator)

    def forward(self, x, with_features=False):
        x = x.flatten(1)
        return (x, self.head(x)) if with_features else self.head(x)


def residual(z, y):
    """Gradient p - onehot(y) of the cross-entropy to the logits, [N, K]."""
    return z.softmax(1) - F.one_hot(y, CLASSES)


def alignment(r, x, r_meta, x_meta):
    """Inner product of each image's gradient to (W, b) with the mean one of the meta batch: <r, r'> (<x, x'> + 1)."""
    return ((r @ r_meta.T) * (x @ x_meta.T + 1)).mean(1)


def plain_step(method, lr=0.5):
    return torch.optim.SGD(method.model.parameters(), lr=lr)


def of_batch(method, wrong=0.4):
    batch = ToyBatches(method, wrong=wrong).next(0)
    x, meta = batch.labelled.weak.flatten(1), batch.meta.weak.flatten(1)
    with torch.no_grad():
        z = method.model(batch.labelled.weak)
    return batch, x, meta, z


def test_l2rw_by_hand():
    method = make_method("l2rw", model=LinearModel(), meta_batch_size=20)
    batch, x, meta, z = of_batch(method)
    with torch.no_grad():
        r, r_meta = residual(z, batch.labelled.y), residual(method.model(batch.meta.weak), batch.meta.y)
    useful = alignment(r, x, r_meta, meta).clamp(min=0)
    assert 0 < (useful > 0).sum() < len(useful)
    losses = F.cross_entropy(z, batch.labelled.y, reduction="none")
    terms = method.step(batch, plain_step(method))
    torch.testing.assert_close(terms["labelled"].detach(), (useful / useful.sum() * losses).sum())
    records = method.read_records()
    right = batch.labelled.y == batch.labelled.true
    weights = 8 * useful / useful.sum()
    assert records["weight_clean"] == pytest.approx(weights[right].mean().item(), rel=1e-6)
    assert records["weight_noisy"] == pytest.approx(weights[~right].mean().item(), rel=1e-6)


def test_l2rw_ignores_a_batch_that_would_only_harm():
    method = make_method("l2rw", model=LinearModel(), meta_batch_size=4)
    batch, *_ = of_batch(method)
    image = torch.ones_like(batch.labelled.weak)  # one and the same, of class 0 by the labels and of class 1 in truth
    batch.labelled.views, batch.labelled.y = (image,), torch.zeros(8, dtype=torch.long)
    batch.meta.views, batch.meta.y = (image,), torch.ones(8, dtype=torch.long)
    before = copy.deepcopy(method.model.state_dict())
    assert method.step(batch, plain_step(method))["labelled"] == 0
    assert all(torch.equal(value, before[name]) for name, value in method.model.state_dict().items())


def test_mw_net_by_hand():
    lr, meta_lr = 0.5, 0.03
    method = make_method("mw_net", model=LinearModel(), meta_batch_size=20, meta_lr=meta_lr)
    batch, x, meta, z = of_batch(method)
    losses, r = F.cross_entropy(z, batch.labelled.y, reduction="none"), residual(z, batch.labelled.y)
    network = copy.deepcopy(method.weighting)
    weights = network(losses) / 8
    with torch.no_grad():
        head, moved = method.model.head, weights[:, None] * r
        z_meta = meta @ (head.weight - lr * moved.T @ x).T + head.bias - lr * moved.sum(0)
        gradient = -lr * alignment(r, x, residual(z_meta, batch.meta.y), meta)  # dM/dw
    torch.autograd.backward(weights, gradient)
    torch.optim.Adam(network.parameters(), lr=meta_lr, weight_decay=1e-4).step()
    expected = (network(losses) * losses).mean()
    terms = method.step(batch, plain_step(method, lr))
    for ours, theirs in zip(method.weighting.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(terms["labelled"].detach(), expected.detach())
    assert method.read_records()["meta_loss"] == pytest.approx(F.cross_entropy(z_meta, batch.meta.y).item())


@pytest.mark.parametrize("name", ["l2rw", "mw_net"])
def test_the_step_through_a_network_with_batch_norm(name):
    """The gradient to the weights is that of a double backward written out, and no statistics move but once."""
    method = make_method(name, meta_batch_size=20)
    batch, optimizer = ToyBatches(method, wrong=0.4).next(0), plain_step(method)
    model, found = copy.deepcopy(method.model), {}
    weights = torch.full((8,), 0.125, dtype=torch.float64, requires_grad=True)
    losses = F.cross_entropy(model(batch.labelled.weak), batch.labelled.y, reduction="none")
    slopes = torch.autograd.grad((weights * losses).sum(), list(model.parameters()), create_graph=True)
    names = [key for key, _ in model.named_parameters()]
    ahead = {k: p - 0.5 * g for k, p, g in zip(names, model.parameters(), slopes, strict=True)}
    value = F.cross_entropy(torch.func.functional_call(model, ahead, (batch.meta.weak,)), batch.meta.y)
    (expected,) = torch.autograd.grad(value, weights)

    def spy(losses, gradients):
        found["gradient"] = gradients(weights, [weights])[1][0]
        return weights

    method.weights = spy
    method.step(batch, optimizer)
    torch.testing.assert_close(found["gradient"], expected, rtol=1e-6, atol=1e-12)
    assert method.model.body[2].num_batches_tracked == 1


def test_verified_labels_tell_wrong_ones():
    method = make_method("l2rw", meta_batch_size=40)
    train(method, ToyBatches(method, wrong=0.4), plain_step(method, 0.1))
    assert method.read_records()["weight_auroc"] > 0.75
