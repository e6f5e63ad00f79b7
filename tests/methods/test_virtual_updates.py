"""The virtual step as a copy of the optimiser's own: against the optimiser, its derivative, and the meta-gradient."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from methods.clid_mu import ClidMu
from methods.clid_mu.hyper_parameters import BASES, SEMI
from methods.parts.hypergradient import exact_forward, exact_reverse, finite_difference, virtual_parameters
from methods.parts.virtual_updates import Adam, MomentumSGD, PlainSGD, virtual_updates
from tests.methods.test_hypergradient import DeepToy, make_step
from tests.methods.toy import ToyBatches, make_method, make_optimizer, train

OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.05),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.05, fused=True),
}


def started(name: str, steps: int, model: nn.Module | None = None) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model after some steps of an optimiser, which then has a state."""
    model = nn.Linear(3, 2).double() if model is None else model
    optimizer, generator = OPTIMIZERS[name](model.parameters()), torch.Generator().manual_seed(1)
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
        optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_copy_is_the_optimisers_step_and_its_slope_the_derivative(name: str, steps: int) -> None:
    model, optimizer = started(name, steps)
    updates = virtual_updates(model, optimizer, copies=True)
    before = copy.deepcopy((model, optimizer.state_dict()))
    gradients = {n: torch.linspace(-1, 0.7, p.numel(), dtype=p.dtype).view_as(p) for n, p in model.named_parameters()}
    e = 1e-6
    found = {n: updates[n](p.detach(), gradients[n]) for n, p in model.named_parameters()}
    ends = [{n: updates[n](p.detach(), gradients[n] + s * e)[0] for n, p in model.named_parameters()} for s in (1, -1)]
    for n, p in model.named_parameters():  # looked at, nothing moved
        assert torch.equal(p, before[0].get_parameter(n))
    for n, p in model.named_parameters():
        p.grad = gradients[n].clone()
    optimizer.step()
    for n, p in model.named_parameters():
        value, slope = found[n]
        torch.testing.assert_close(value, p.detach(), rtol=1e-12, atol=1e-14)
        numeric = -(ends[0][n] - ends[1][n]) / (2 * e)
        torch.testing.assert_close(
            torch.as_tensor(slope, dtype=p.dtype).expand_as(numeric), numeric, rtol=1e-5, atol=1e-8
        )


def test_nesterov_by_hand() -> None:
    """g = 1, theta = 2, decay 0.5: h = 2; v = 0.9 3 + 2 = 4.7; theta' = 2 - 0.1 (2 + 0.9 4.7) = 1.377."""
    one = torch.ones(1, dtype=torch.float64)
    value, slope = MomentumSGD(0.1, 0.9, True, 0.5, 3 * one)(2 * one, one)
    assert value.item() == pytest.approx(1.377) and slope == pytest.approx(0.19)
    value, slope = MomentumSGD(0.1, 0.9, True, 0.5, None)(2 * one, one)  # v = h: 2 - 0.1 1.9 2
    assert value.item() == pytest.approx(1.62) and slope == pytest.approx(0.19)
    value, slope = MomentumSGD(0.1, 0.9, False, 0.5, 3 * one)(2 * one, one)
    assert value.item() == pytest.approx(2 - 0.47) and slope == pytest.approx(0.1)


def test_adamw_by_hand() -> None:
    """First step: m_hat = g, v_hat = g^2, theta' = theta (1 - lr wd) - lr g / (|g| + eps)."""
    g, eps = torch.tensor([0.5, -2.0, 0.0], dtype=torch.float64), 0.1
    value, slope = Adam(0.01, (0.9, 0.999), eps, 0.5, True, None, None, 0)(torch.ones_like(g), g)
    torch.testing.assert_close(value, 0.995 - 0.01 * g / (g.abs() + eps))
    torch.testing.assert_close(slope, 0.01 * eps / (g.abs() + eps) ** 2)


def copied(name: str, steps: int = 3) -> Any:
    model, optimizer = started(name, steps, DeepToy(1))
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.3)  # back to a size at which the outputs are no constants
    step, _ = make_step(model=model)
    return dataclasses.replace(step, updates=virtual_updates(model, optimizer, copies=True)), optimizer


@pytest.mark.parametrize("name", ["momentum", "nesterov", "adam", "adamw"])
def test_the_schemes_agree_on_a_copy(name: str) -> None:
    step, _ = copied(name)
    values, gradients = zip(
        *(scheme(step) for scheme in (exact_reverse, exact_forward, finite_difference)), strict=True
    )
    reverse, forward, near = (parameters_to_vector(g) for g in gradients)
    assert values[0] == values[1] and reverse.norm() > 1e-9
    assert (forward - reverse).norm() <= 1e-9 * reverse.norm()
    assert torch.nn.functional.cosine_similarity(near, reverse, dim=0) > 0.99


def test_the_meta_gradient_is_that_of_the_optimisers_formula_differentiated() -> None:
    """Nesterov written out with autograd, buffers and decay constant: the step that `higher` would differentiate."""
    step, optimizer = copied("nesterov")
    names, parameters = zip(*step.model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(step.train_loss(step.logits), parameters, create_graph=True)
    virtual: dict[str, Tensor] = {}
    for n, p, g in zip(names, parameters, gradients, strict=True):
        h = g + 0.05 * p
        v = 0.9 * optimizer.state[p]["momentum_buffer"] + h
        virtual[n] = p - 0.1 * (h + 0.9 * v)
    expected = torch.autograd.grad(step.meta_loss(virtual), step.phi)
    found = exact_reverse(step)[1]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-14)
    plain = {name: PlainSGD(0.1) for name in names}
    other = parameters_to_vector(exact_reverse(dataclasses.replace(step, updates=plain))[1])
    assert other.norm() < 0.9 * parameters_to_vector(found).norm()  # the plain step is shorter: 1 / 1.9 of the slope
    moved = virtual_parameters(step.model, step.train_loss(step.logits), step.updates)
    for n in names:
        torch.testing.assert_close(moved[n], virtual[n], rtol=1e-12, atol=1e-14)


def test_another_optimiser_is_named() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="virtual_step: Adagrad cannot be copied, only SGD, Adam and AdamW"):
        virtual_updates(model, torch.optim.Adagrad(model.parameters()), copies=True)


# -- what is left to the base -----------------------------------------------------------------------------------------


def virtual_kinds(optimizer: Any = make_optimizer, **values: Any) -> set[str]:
    """Class names of the updates in a step of clid_mu."""
    method, found = make_method("clid_mu", meta_batch_size=12, **values), set()
    original = method._virtual_updates

    def seen() -> dict[str, Any]:
        updates = original()
        found.update(type(update).__name__ for update in updates.values())
        return updates

    method._virtual_updates = seen
    method.step(ToyBatches(method, wrong=0.3).next(0), optimizer(method.model))
    return found


@pytest.mark.parametrize("base", BASES)
def test_a_base_decides_what_is_not_given_as_the_release_has_it(base: str) -> None:
    """Nesterov momentum, a copy of the optimiser, 1,000 of 10,000 unlabelled images in both views and temperature 0.1
    on semi-supervised bases; SGD, the plain step, 100 of 1,000 training images and 0.5 where all are labelled."""
    semi = base in SEMI
    hyper = ClidMu.resolve(ClidMu.Hyper(base=base), 100)
    found = (hyper.temperature, hyper.meta_batch_size, hyper.meta_set_size, hyper.meta_source, hyper.meta_view)
    assert found == ((0.1, 1000, 10_000, "unlabelled", "both") if semi else (0.5, 100, 1000, "training", "weak"))
    assert ClidMu.views_for(ClidMu.Hyper(base=base)).meta == (("weak", "strong") if semi else ("weak",))
    assert ClidMu.stream_sizes(ClidMu.Hyper(base=base), 8)["meta"] == (1000 if semi else 100)
    method = make_method("clid_mu", base=base, meta_batch_size=12)
    (group,) = method.meta_optimizer.param_groups
    assert (group["momentum"], group["nesterov"], group["weight_decay"]) == ((0.9 if semi else 0.0), semi, 5e-4)
    expected = "MomentumSGD" if semi else "PlainSGD"
    assert virtual_kinds(base=base) - {"Scaled"} == {expected}


def test_what_is_given_stays_and_label_goals_read_labels() -> None:
    given = {"temperature": 0.3, "meta_batch_size": 20, "meta_source": "training", "meta_view": "weak"}
    hyper = ClidMu.resolve(ClidMu.Hyper(base="fixmatch", **given), 100)
    assert {key: getattr(hyper, key) for key in given} == given
    hyper = ClidMu.resolve(ClidMu.Hyper(base="fixmatch", meta_goal="mae"), 100)
    assert (hyper.meta_source, hyper.meta_view, hyper.meta_batch_size) == ("training", "weak", 100)
    assert ClidMu.resolve(ClidMu.Hyper(meta_set_size=30), 100).meta_batch_size == 30
    assert ClidMu.resolve(ClidMu.Hyper(meta_batch_size=2000), 100).meta_set_size == 2000


def test_the_virtual_step_of_adamw_is_adamws() -> None:
    adamw = OPTIMIZERS["adamw"]
    assert virtual_kinds(lambda model: adamw(model.parameters())) == {"Adam"}
    assert virtual_kinds(lambda model: adamw(model.parameters()), virtual_step="plain") == {"PlainSGD"}
    assert virtual_kinds(virtual_step="optimizer") == {"MomentumSGD"}


def test_wnet_moves_by_nesterov_momentum() -> None:
    """h = g + 5e-4 phi, v <- 0.9 v + h, phi <- phi - meta_lr (h + 0.9 v), over three steps."""
    method = make_method("clid_mu", base="fixmatch", meta_lr=0.2, meta_batch_size=12, fixmatch_threshold=0.4)
    batches, optimizer = ToyBatches(method, wrong=0.3), make_optimizer(method.model)
    phi = list(method.weighting.parameters())
    expected, velocity = [p.detach().clone() for p in phi], [torch.zeros_like(p) for p in phi]
    for step in range(3):
        train(method, batches, optimizer, step, step + 1)
        for k, p in enumerate(phi):
            h = p.grad + 5e-4 * expected[k]
            velocity[k] = 0.9 * velocity[k] + h
            expected[k] = expected[k] - 0.2 * (h + 0.9 * velocity[k])
            torch.testing.assert_close(p.detach(), expected[k], rtol=1e-9, atol=1e-13)
