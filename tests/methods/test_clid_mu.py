"""CLID-MU: the meta-gradient, the virtual step, the real step."""

from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from methods.parts.clid import EPSILON, clid, log_feature_graph, output_graph
from methods.parts.hypergradient import (
    VirtualStep,
    exact_reverse,
    virtual_forward,
    virtual_parameters,
)
from methods.parts.meta_models import WNet, sum_normalised
from methods.parts.virtual_updates import PlainSGD, virtual_updates
from tests.methods.toy import ToyBatches, ToyModel, make_method, make_optimizer, train


class MetaProblem:
    """The meta objective as a function of phi, written out anew: weights, one SGD step by hand, CLID of the meta batch.

    CLID holds Q constant, and as released the row sums of P too. So the function whose derivative the meta-gradient is
    keeps them at their values at `phi`; only the rest moves.
    """

    def __init__(self, normalizer_grad: bool) -> None:
        self.model = ToyModel(1)
        batch = ToyBatches(make_method("clid_mu"), batch_size=12, wrong=0.4).next(0)
        self.x, self.y, self.meta = batch.labelled.weak, batch.labelled.y, batch.stream("meta").weak[:24]
        self.wnet = WNet(0).double()
        self.phi = parameters_to_vector(self.wnet.parameters()).detach()
        self.rates = {name: 0.3 if name.startswith("head") else 0.5 for name, _ in self.model.named_parameters()}
        self.updates = {name: PlainSGD(rate) for name, rate in self.rates.items()}
        self.normalizer_grad = normalizer_grad
        with torch.no_grad():
            features, logits = self.after_step(self.phi)
            self.log_q = torch.log(log_feature_graph(features, 0.5).exp() + EPSILON)
            unit = F.normalize(logits.softmax(1), dim=1)
            self.row_sums = (unit @ unit.T).sum(1, keepdim=True)

    def after_step(self, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of the meta batch after the step that phi weighted."""
        wnet, model = copy.deepcopy(self.wnet), copy.deepcopy(self.model)
        vector_to_parameters(phi, wnet.parameters())
        with torch.enable_grad():
            losses = F.cross_entropy(model(self.x), self.y, reduction="none")
            scores = wnet(losses.detach()).detach()
            (scores / scores.sum() * losses).sum().backward()
        with torch.no_grad():
            for name, p in model.named_parameters():
                assert p.grad is not None
                p -= self.rates[name] * p.grad
            return model(self.meta, with_features=True)

    def value(self, phi: Tensor) -> float:
        unit = F.normalize(self.after_step(phi)[1].softmax(1), dim=1)
        w = unit @ unit.T
        p = w / (w.sum(1, keepdim=True) if self.normalizer_grad else self.row_sums)
        return -(p * self.log_q).sum(1).mean().item()

    def train_loss(self) -> Tensor:
        losses = F.cross_entropy(self.model(self.x), self.y, reduction="none")
        return (sum_normalised(self.wnet(losses.detach())) * losses).sum()

    def meta_loss(self, parameters: dict[str, Tensor]) -> Tensor:
        return clid(*virtual_forward(self.model, parameters, self.meta), 0.5, self.normalizer_grad)

    def step(self) -> VirtualStep:
        features, logits = self.model(self.x, with_features=True)
        scores = self.wnet(F.cross_entropy(logits, self.y, reduction="none").detach())
        return VirtualStep(
            model=self.model,
            x=self.x,
            logits=logits,
            features=features.detach(),
            updates=self.updates,
            train_loss=lambda z: (sum_normalised(scores) * F.cross_entropy(z, self.y, reduction="none")).sum(),
            meta_loss=self.meta_loss,
            meta_features=lambda: virtual_forward(self.model, {}, self.meta)[0],
            head_loss=lambda h, z: clid(h, z, 0.5, self.normalizer_grad),
            phi=list(self.wnet.parameters()),
        )

    def exact(self) -> tuple[Tensor, Tensor]:
        value, gradients = exact_reverse(self.step())
        return value, parameters_to_vector(gradients)


@pytest.mark.parametrize("normalizer_grad", [False, True])
def test_meta_gradient_against_central_differences(normalizer_grad):
    problem = MetaProblem(normalizer_grad)
    value, gradient = problem.exact()
    assert value.item() == pytest.approx(problem.value(problem.phi), rel=1e-12)
    assert gradient.norm() > 1e-4
    step, numeric, exact = 1e-6, [], []
    for k in [*range(0, 300, 4), 300]:  # every fourth weight and bias of both layers, and the last bias
        e = torch.zeros_like(problem.phi)
        e[k] = step
        numeric.append((problem.value(problem.phi + e) - problem.value(problem.phi - e)) / (2 * step))
        exact.append(gradient[k].item())
    numeric, exact = (torch.tensor(values, dtype=torch.float64) for values in (numeric, exact))
    assert (numeric - exact).norm() < 1e-6 * exact.norm()


def test_meta_gradient_is_that_of_the_unpruned_double_backward():
    """Scheme 1 = scheme 0, backward() through everything, of which phi's part is kept.

    (docs/clid_mu.md, section 8.4, test 3)
    """
    problem = MetaProblem(False)
    _, pruned = problem.exact()
    problem.meta_loss(virtual_parameters(problem.model, problem.train_loss(), problem.updates)).backward()
    assert torch.equal(parameters_to_vector(p.grad for p in problem.wnet.parameters() if p.grad is not None), pruned)
    assert all(p.grad is not None for p in problem.model.parameters())


def test_small_meta_step_lowers_the_meta_objective():
    problem = MetaProblem(True)
    _, gradient = problem.exact()
    assert problem.value(problem.phi - 0.1 * gradient) < problem.value(problem.phi)


def test_virtual_passes_leave_running_statistics_and_weights_alone():
    problem = MetaProblem(False)
    step = problem.step()  # the one forward of the real step
    before = copy.deepcopy(problem.model.state_dict())
    exact_reverse(step)
    assert problem.model.training
    for name, value in problem.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in problem.model.parameters())


def test_a_step_counts_once_for_batch_norm():
    method = make_method("clid_mu")
    train(method, ToyBatches(method), make_optimizer(method.model), last=3)
    assert method.model.body[2].num_batches_tracked == 3
    plain = make_method("supervised")
    batches = ToyBatches(method)
    train(plain, batches, make_optimizer(plain.model), last=1)
    once = make_method("clid_mu")
    train(once, batches, make_optimizer(once.model), last=1)
    assert torch.equal(once.model.body[2].running_mean, plain.model.body[2].running_mean)


def test_the_real_step_uses_the_new_weights_as_constants():
    """One step = SGD on sum_i w_i c_i with w from the updated phi, recomputed here from a second forward."""
    method = make_method("clid_mu", meta_lr=50.0)
    batches = ToyBatches(method, wrong=0.4)
    batch, old = batches.next(0), copy.deepcopy(method)
    optimizer = torch.optim.SGD(method.model.parameters(), lr=0.2)
    method.step(batch, optimizer)

    losses = F.cross_entropy(old.model(batch.labelled.weak), batch.labelled.y, reduction="none")
    new, stale = (sum_normalised(m.weighting(losses.detach())).detach() for m in (method, old))
    assert (new - stale).abs().max() > 1e-3
    gradients = torch.autograd.grad((new * losses).sum(), list(old.model.parameters()))
    for p, before, g in zip(method.model.parameters(), old.model.parameters(), gradients, strict=True):
        torch.testing.assert_close(p, before - 0.2 * g, rtol=1e-12, atol=1e-15)


def test_the_virtual_step_is_plain_sgd_at_the_current_rate_of_each_group():
    model = ToyModel()
    groups = [{"params": model.body.parameters(), "lr": 0.5}, {"params": model.head.parameters(), "weight_decay": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    optimizer.param_groups[1]["lr"] = 0.025  # as a schedule does
    updates = virtual_updates(model, optimizer, copies=False)
    loss = model(torch.ones(4, 1, 4, 4, dtype=torch.float64) * torch.arange(4.0).view(-1, 1, 1, 1)).square().sum()
    virtual = virtual_parameters(model, loss, updates)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for (name, p), g in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(virtual[name], p - (0.025 if name.startswith("head") else 0.5) * g)


def test_frozen_parameters_stay_out_of_the_virtual_step():
    model = ToyModel()
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    method = make_method("clid_mu", model=model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    before = model.body.get_parameter("1.weight").clone()
    train(method, ToyBatches(method), optimizer, last=2)
    assert torch.equal(model.body.get_parameter("1.weight"), before)


class AttentionModel(ToyModel):
    """One layer of attention over the image's rows: fused attention has no second derivative."""

    def features(self, x: Tensor) -> Tensor:
        rows, layer = x[:, 0, None], cast(nn.Linear, self.body[1])
        return self.body(F.scaled_dot_product_attention(rows, rows.flip(2) * layer.bias[:4], rows))


def test_models_with_attention_can_be_differentiated_twice():
    method = make_method("clid_mu", model=AttentionModel(norm=False, dtype=torch.float32), meta_lr=10.0)
    before = parameters_to_vector(method.weighting.parameters()).detach().clone()
    train(method, ToyBatches(method), make_optimizer(method.model), last=1)
    assert not torch.equal(parameters_to_vector(method.weighting.parameters()), before)


def test_every_k_steps():
    method = make_method("clid_mu", every=3, meta_lr=1.0)
    batches, optimizer = ToyBatches(method), make_optimizer(method.model)
    phi, moved = parameters_to_vector(method.weighting.parameters()).detach().clone(), []
    for step in range(7):
        method.step(batches.next(step), optimizer)
        now = parameters_to_vector(method.weighting.parameters()).detach().clone()
        moved.append(not torch.equal(now, phi))
        phi = now
    assert moved == [True, False, False, True, False, False, True]


def test_weights_of_clean_and_noisy_images_are_reported():
    method = make_method("clid_mu")
    batch = ToyBatches(method, wrong=0.5).next(0)
    method.step(batch, make_optimizer(method.model))
    records = method.read_records()
    noisy = (batch.labelled.y != batch.labelled.true).double().mean().item()
    assert 0 < noisy < 1
    assert (1 - noisy) * records["weight_clean"] + noisy * records["weight_noisy"] == pytest.approx(1, rel=1e-6)
    assert records["meta_loss"] > 0


def test_weights_sum_to_one_and_a_zero_sum_is_left_alone():
    torch.testing.assert_close(sum_normalised(torch.tensor([1.0, 3.0])), torch.tensor([0.25, 0.75]))
    assert sum_normalised(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_wnet_starts_as_the_default_initialisation_does():
    draws = torch.cat([parameters_to_vector(WNet(seed).last.parameters()).detach() for seed in range(50)])
    assert draws.abs().max() <= 0.1 and draws.std() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    first, other, again = (parameters_to_vector(WNet(seed).parameters()) for seed in (0, 1, 0))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_graphs_have_rows_that_sum_to_one():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, generator=generator)
    for rows in (log_feature_graph(x, 0.5).exp().sum(1), output_graph(x).sum(1)):
        torch.testing.assert_close(rows, torch.ones(6))
