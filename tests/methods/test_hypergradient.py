"""The schemes of the meta-gradient against each other, for both meta-models, in float64."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils import parameters_to_vector

from methods.parts.clid import clid
from methods.parts.hypergradient import (
    SCHEMES,
    VirtualStep,
    cheapest_exact,
    exact_forward,
    exact_reverse,
    finite_difference,
    last_layer,
    repeats,
    top_modules,
    top_stage,
    virtual_forward,
    virtual_parameters,
)
from methods.parts.meta_models import VRI, MetaModel, WNet, meta_inputs
from methods.parts.virtual_updates import PlainSGD
from tests.methods.toy import CLASSES, ToyBatches, ToyModel, make_method


class DeepToy(nn.Module):
    """Two convolutional stages with batch normalisation and a linear head, float64."""

    stages = ("first", "second")

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
            self.second = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh())
            self.head = nn.Linear(6, CLASSES)
        self.double()

    def features(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).mean((2, 3))

    def forward(self, x: Tensor, with_features: bool = False) -> Any:
        features = self.features(x)
        return (features, self.head(features)) if with_features else self.head(features)


def make_meta_model(name: str, width: int, seed: int = 0) -> MetaModel:
    if name == "vri":
        return VRI(seed, width, CLASSES, embedding=5, widths=(16, 8)).double()
    return WNet(seed, normalise="none" if name == "wnet, not normalised" else "sum").double()


META_MODELS = ("wnet", "wnet, not normalised", "vri")
MODELS = {"linear": ToyModel, "deep": DeepToy}


def make_step(
    meta: str = "wnet", model: nn.Module | None = None, soft: bool = False, regulariser: float = 0.0
) -> tuple[VirtualStep, MetaModel]:
    """The virtual step of 12 images with wrong labels among them, judged by CLID on 24; layers learn at other rates."""
    model = DeepToy(1) if model is None else model
    batch = ToyBatches(make_method("clid_mu"), batch_size=12, wrong=0.4).next(0)
    x, y, meta_x = batch.labelled.weak, batch.labelled.y, batch.stream("meta").weak[:24]
    target = (F.one_hot(y, CLASSES) * 0.7 + F.one_hot(y.flip(0), CLASSES) * 0.3).double() if soft else y
    features, logits = model(x, with_features=True)
    weighting = make_meta_model(meta, features.shape[1])
    seen = meta_inputs(logits, features, target)

    def train_loss(z: Tensor) -> Tensor:
        said = weighting.output_for(seen, torch.Generator().manual_seed(5))  # anew: several schemes use one step
        return weighting.loss(said, z, target) + regulariser * weighting.regulariser(seen)

    step = VirtualStep(
        model=model,
        x=x,
        logits=logits,
        features=features.detach(),
        updates={name: PlainSGD(0.3 if name.startswith("head") else 0.5) for name, _ in model.named_parameters()},
        train_loss=train_loss,
        meta_loss=lambda parameters: clid(*virtual_forward(model, parameters, meta_x), 0.5),
        meta_features=lambda: virtual_forward(model, {}, meta_x)[0],
        head_loss=lambda h, z: clid(h, z, 0.5),
        phi=[p for p in weighting.parameters()],
    )
    return step, weighting


def gradient(name: str, step: VirtualStep) -> Tensor:
    return parameters_to_vector(SCHEMES[name](step)[1])


def cosine(a: Tensor, b: Tensor) -> float:
    return F.cosine_similarity(a, b, dim=0).item()


@pytest.mark.parametrize("meta", META_MODELS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("soft", [False, True])
def test_forward_equals_reverse(meta, name, soft):
    step, _ = make_step(meta, MODELS[name](1), soft)
    value, reverse = exact_reverse(step)
    other, forward = exact_forward(step)
    reverse, forward = parameters_to_vector(reverse), parameters_to_vector(forward)
    assert reverse.norm() > 1e-5 and value == other
    assert (forward - reverse).norm() <= 1e-10 * reverse.norm()


@pytest.mark.parametrize("meta", META_MODELS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_finite_difference_is_close(meta, seed):
    exact, found = (
        gradient(name, make_step(meta, DeepToy(seed))[0]) for name in ("exact_forward", "finite_difference")
    )
    assert cosine(exact, found) > 0.99
    assert found.norm().item() == pytest.approx(exact.norm().item(), rel=0.1)


def test_each_weight_acts_by_the_inner_product_of_two_gradients():
    """dM/dw_i = -lr <grad l_i, grad M at theta'>, since the weights enter the virtual step linearly."""
    step, _ = make_step()
    weights = torch.full((12,), 1 / 12, dtype=torch.float64, requires_grad=True)
    y = ToyBatches(make_method("clid_mu"), batch_size=12, wrong=0.4).next(0).labelled.y
    step = dataclasses.replace(
        step,
        train_loss=lambda z: (weights * F.cross_entropy(z, y, reduction="none")).sum(),
        phi=[weights],
    )
    names, parameters = zip(*step.model.named_parameters(), strict=True)
    losses = F.cross_entropy(step.logits, y, reduction="none")
    virtual = virtual_parameters(step.model, (weights.detach() * losses).sum(), step.updates)
    virtual = {name: p.detach().requires_grad_() for name, p in virtual.items()}
    outer = torch.autograd.grad(step.meta_loss(virtual), list(virtual.values()))
    rates = {name: 0.3 if name.startswith("head") else 0.5 for name in names}
    expected = []
    for loss in losses:
        inner = torch.autograd.grad(loss, parameters, retain_graph=True)
        terms = [rates[name] * (a * b).sum() for name, a, b in zip(names, inner, outer, strict=True)]
        expected.append(-torch.stack(terms).sum())
    (found,) = exact_forward(step)[1]
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("meta", META_MODELS)
def test_the_closed_form_is_that_of_a_head_that_learns_alone(meta):
    """Scheme 6 = double backward where the optimiser moves the head only."""
    step, _ = make_step(meta)
    alone = dataclasses.replace(step, updates={k: v for k, v in step.updates.items() if k.startswith("head")})
    value, found = last_layer(step)
    expected_value, expected = exact_reverse(alone)
    torch.testing.assert_close(value, expected_value, rtol=1e-12, atol=0)
    torch.testing.assert_close(parameters_to_vector(found), parameters_to_vector(expected), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("meta", META_MODELS)
def test_top_stage_is_exact_for_what_it_moves(meta):
    step, _ = make_step(meta)
    top = {k: v for k, v in step.updates.items() if k.startswith(("second.", "head."))}
    expected = exact_forward(dataclasses.replace(step, updates=top))
    value, found = top_stage(step)
    torch.testing.assert_close(value, expected[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(parameters_to_vector(found), parameters_to_vector(expected[1]), rtol=1e-9, atol=1e-14)
    assert cosine(parameters_to_vector(found), gradient("exact_forward", step)) < 1 - 1e-6


@pytest.mark.parametrize("name", SCHEMES)
def test_no_pass_moves_statistics_weights_or_gradients(name):
    step, _ = make_step()
    before = copy.deepcopy(step.model.state_dict())
    SCHEMES[name](step)
    assert step.model.training
    for key, value in step.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in step.model.parameters())
    assert all(m.track_running_stats for m in step.model.modules() if isinstance(m, nn.BatchNorm2d))


@pytest.mark.parametrize("name", SCHEMES)
def test_the_training_graph_serves_the_real_step_afterwards(name):
    step, _ = make_step()
    SCHEMES[name](step)
    loss = F.cross_entropy(step.logits, torch.zeros(12, dtype=torch.int64))
    found = torch.autograd.grad(loss, list(step.model.parameters()))
    again = F.cross_entropy(step.model(step.x), torch.zeros(12, dtype=torch.int64))
    for a, b in zip(found, torch.autograd.grad(again, list(step.model.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["exact_reverse", "exact_forward"])
def test_the_regulariser_of_vri_has_no_effect(name):
    """R changes neither theta' nor the gradient to phi, though it depends on phi.

    (docs/clid_mu.md, section 8.4, test 4, P11)
    """
    without, meta = make_step("vri", regulariser=0.0)
    strong, same = make_step("vri", regulariser=10.0)
    assert torch.equal(gradient(name, without), gradient(name, strong))
    virtual = [virtual_parameters(s.model, s.train_loss(s.logits), s.updates) for s in (without, strong)]
    assert all(torch.equal(virtual[0][key], virtual[1][key]) for key in virtual[0])
    seen = meta_inputs(strong.logits, strong.features, torch.arange(12) % CLASSES)
    moved = torch.autograd.grad(same.regulariser(seen), list(same.parameters()))
    assert parameters_to_vector(moved).norm() > 1e-3
    assert parameters_to_vector(meta.parameters()).equal(parameters_to_vector(same.parameters()))


def test_frozen_parameters_and_a_head_without_bias():
    model = DeepToy(1)
    model.head = nn.Linear(6, CLASSES, bias=False).double()
    model.first.requires_grad_(False)
    step, _ = make_step(model=model)
    step = dataclasses.replace(step, updates={k: v for k, v in step.updates.items() if not k.startswith("first")})
    reverse = gradient("exact_reverse", step)
    assert (gradient("exact_forward", step) - reverse).norm() <= 1e-10 * reverse.norm()
    assert gradient("last_layer", step).isfinite().all()


def test_a_step_of_length_zero_has_no_gradient():
    step, _ = make_step()
    still = dataclasses.replace(step, updates=dict.fromkeys(step.updates, PlainSGD(0.0)))
    for name in SCHEMES:
        assert gradient(name, still).norm() == 0, name


def test_last_layer_says_which_heads_it_takes():
    model = DeepToy(1)
    model.head = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, CLASSES)).double()
    step, _ = make_step(model=model)
    with pytest.raises(ValueError, match="hypergradient: last_layer.*Sequential.*exact_forward"):
        last_layer(step)
    reverse = gradient("exact_reverse", step)
    assert (gradient("exact_forward", step) - reverse).norm() <= 1e-10 * reverse.norm()


def test_dropout_calls_for_double_backward():
    """A second pass would draw other masks, so that forward mode is no longer exact."""
    model = DeepToy(0)
    assert repeats(model)
    model.second.append(nn.Dropout(0.1))
    assert not repeats(model)
    assert cheapest_exact(model, torch.device("cpu")) == "exact_reverse"


def test_auto_is_the_exact_scheme_that_was_measured_to_be_cheaper():
    assert cheapest_exact(DeepToy(), torch.device("cpu")) == "exact_forward"
    assert cheapest_exact(DeepToy(), torch.device("cuda")) == "exact_reverse"
    assert cheapest_exact(ToyModel(), torch.device("cpu")) == "exact_reverse"  # no convolution


def test_the_top_is_the_last_stage_with_weights_and_the_head():
    assert top_modules(DeepToy()) == ("second", "head")
    model = DeepToy()
    model.norm = nn.BatchNorm2d(6)
    model.stages = ("first", "second", "norm")
    assert top_modules(model) == ("second", "norm", "head")
    blocks = ToyModel(width=30)  # all of the network in one stage: its last part with weights
    blocks.body.extend([nn.Linear(30, 30), nn.ReLU()])
    assert top_modules(blocks) == ("body.4", "head")


def test_finite_difference_shrinks_its_error_with_the_square_of_the_radius(monkeypatch):
    errors = []
    smooth = DeepToy(3)  # kinks would add errors of first order
    smooth.first[2], smooth.second[0] = nn.Tanh(), nn.AvgPool2d(2)
    step, _ = make_step(model=smooth)
    exact = gradient("exact_forward", step)
    for radius in (0.04, 0.02):
        monkeypatch.setattr("methods.parts.hypergradient.RADIUS", radius)
        errors.append((parameters_to_vector(finite_difference(step)[1]) - exact).norm())
    assert 3 < errors[0] / errors[1] < 5


def test_functional_calls_reach_the_same_logits():
    """What makes one training forward enough: the pass that the tangent belongs to repeats it exactly."""
    step, _ = make_step()
    torch.testing.assert_close(functional_call(step.model, {}, (step.x,)), step.logits, rtol=1e-12, atol=1e-14)
