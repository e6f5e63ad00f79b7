"""The gate of LayerMatch in all its forms, G0 to G10.

docs/layermatch.md, sections 2.4 and 2.5, and acceptance tests 1 to 5 of its section 10.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from methods.layermatch.heads import gated_head, linear_gradient
from platform.core.registry import METHODS
from tests.methods.toy import CLASSES, ToyBatches, ToyModel, make_method, make_setup

EXACT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-13}
B, N, STEP, LAMBDA = 8, 56, 3, 1.7
HEAD = ("head.weight", "head.bias")
FORMS: dict[str, dict[str, Any]] = {
    "hard": {},
    "scalar": {"gate": 0.3},
    "schedule": {"gate_schedule": "open_linear", "gate_time": 0.5},
    "sample": {"gate_threshold": 0.6},
    "sample power": {"gate_sample": "power", "gate_power": 3.0},
    "class": {"gate_target": 0.1},
    "random": {},
    "random entries": {"gate_grain": "entries"},
    "conflict": {},
    "conflict cosine": {"gate_conflict": "cosine"},
    "conflict project": {"gate_conflict": "project"},
    "weight_only": {},
    "bias_only": {},
    "mirror": {},
}


def gated(form: str, model: nn.Module | None = None, **values: Any) -> Any:
    settings_ = {"threshold": 0.4, "lambda_u": LAMBDA, "centre_mode": "off", "gate_mode": form.split()[0]}
    return make_method("layermatch", model=model, **(settings_ | FORMS.get(form, {}) | values))


def gradients(method: Any, loss: Tensor) -> dict[str, Tensor]:
    parameters = dict(method.model.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(parameters.items(), found, strict=True)
    }


class Plain:
    """FixMatch on the same weights and batch, taken apart: gradients of both losses, and of each image to the head."""

    def __init__(self, model: nn.Module | None = None) -> None:
        method = make_method("fixmatch", model=model, threshold=0.4, lambda_u=LAMBDA)
        batch = ToyBatches(method).next(STEP)
        self.terms = method.loss(batch)
        self.labelled = gradients(method, self.terms["labelled"])
        self.unlabelled = gradients(method, self.terms["unlabelled"])
        u = batch.unlabelled
        with torch.no_grad():
            features, logits = method.model(torch.cat([batch.labelled.weak, u.weak, u.strong]), with_features=True)
            self.confidence, self.label = logits[B : B + N].softmax(1).max(1)
            self.mask = (self.confidence >= 0.4).double()
            residual = logits[-N:].softmax(1) - F.one_hot(self.label, CLASSES)
            residual = LAMBDA / N * self.mask[:, None] * residual
            self.each = {"head.weight": residual[:, :, None] * features[-N:, None, :], "head.bias": residual}
        assert 0 < self.mask.sum() < N


@pytest.fixture(scope="module")
def plain() -> Plain:
    return Plain()


def unlabelled_gradients(method: Any) -> dict[str, Tensor]:
    return gradients(method, method.loss(ToyBatches(method).next(STEP))["unlabelled"])


def by_image(plain: Plain, alpha: Tensor) -> dict[str, Tensor]:
    return {name: torch.einsum("n,n...->...", alpha, each) for name, each in plain.each.items()}


def test_the_parts_of_the_reference_fit(plain):
    for name, whole in by_image(plain, torch.ones(N, dtype=torch.float64)).items():
        torch.testing.assert_close(whole, plain.unlabelled[name], **EXACT)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_keeps_values_and_the_gradient_to_the_features(form, plain):
    method = gated(form)
    terms = method.loss(ToyBatches(method).next(STEP))
    for name, value in plain.terms.items():
        torch.testing.assert_close(terms[name], value, **EXACT)
    mine = gradients(method, terms["unlabelled"])
    for name, expected in plain.unlabelled.items():
        if name not in HEAD:
            torch.testing.assert_close(mine[name], expected * (form != "mirror"), **EXACT)  # 5: exactly 0 for G9
    for name, expected in gradients(method, terms["labelled"]).items():
        torch.testing.assert_close(expected, plain.labelled[name], **EXACT)


@pytest.mark.parametrize(("form", "alpha"), [("hard", 0.0), ("scalar", 0.3), ("mirror", 1.0)])
def test_a_constant_share(form, alpha, plain):
    mine = unlabelled_gradients(gated(form))
    for name in HEAD:
        torch.testing.assert_close(mine[name], alpha * plain.unlabelled[name], **EXACT)


@pytest.mark.parametrize(("form", "open_one"), [("weight_only", "head.bias"), ("bias_only", "head.weight")])
def test_one_of_two_is_blocked(form, open_one, plain):
    mine = unlabelled_gradients(gated(form))
    for name in HEAD:
        torch.testing.assert_close(mine[name], plain.unlabelled[name] * (name == open_one), **EXACT)


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("open_linear", [0, 0.25, 0.5, 1, 1]),
        ("open_cosine", [0, 0.1464466, 0.5, 1, 1]),
        ("close_linear", [1, 0.75, 0.5, 0, 0]),
        ("close_cosine", [1, 0.8535534, 0.5, 0, 0]),
        ("block_until", [0, 0, 0, 1, 1]),
    ],
)
def test_a_share_that_follows_time(schedule, shares, plain):
    method = gated("schedule", gate_schedule=schedule, gate_time=0.4)  # 50 steps: it ends at step 20
    batch = ToyBatches(method).next(STEP)
    for step, share in zip((0, 5, 10, 20, 49), shares, strict=True):
        batch.step = step
        mine = gradients(method, method.loss(batch)["unlabelled"])
        torch.testing.assert_close(mine["head.weight"], share * plain.unlabelled["head.weight"], rtol=1e-6, atol=1e-13)


def test_a_schedule_of_no_length_has_ended():
    assert gated("schedule", gate_schedule="open_cosine", gate_time=0.0).gate.share(None, Step(0)) == 1
    assert gated("schedule", gate_schedule="close_linear", gate_time=0.0).gate.share(None, Step(0)) == 0


class Step:
    def __init__(self, step: int) -> None:
        self.step = step


def test_3_each_image_its_share(plain):
    cases = (("sample", (plain.confidence >= 0.6).double()), ("sample power", plain.confidence**3.0))
    for form, alpha in cases:
        method = gated(form)
        mine = unlabelled_gradients(method)
        for name, expected in by_image(plain, alpha).items():
            torch.testing.assert_close(mine[name], expected, **EXACT)
            assert not torch.allclose(mine[name], plain.unlabelled[name])
        share, count = method.gate.readings()["gate_open"]
        assert float(share / count) == pytest.approx(float((alpha * plain.mask).sum() / plain.mask.sum()))


def test_a_class_opens_when_its_images_are_enough(plain):
    method = gated("class", gate_target=0.5)  # 120 unlabelled images, 3 classes: from 20 carried on
    assert method.gate.target.tolist() == [20.0, 20.0, 20.0]
    method.gate.carried[:19], method.gate.carried[19:39], method.gate.carried[39:80] = 0, 1, 2
    mine = unlabelled_gradients(method)
    rows = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(mine["head.weight"], rows[:, None] * plain.unlabelled["head.weight"], **EXACT)
    torch.testing.assert_close(mine["head.bias"], rows * plain.unlabelled["head.bias"], **EXACT)
    assert [float(part) for part in method.gate.readings()["gate_open"]] == [2.0, 3.0]


def test_an_image_carries_the_label_it_was_last_selected_with(plain):
    method = gated("class")
    index = ToyBatches(method).next(STEP).unlabelled.index
    before = torch.arange(len(method.gate.carried)) % CLASSES
    method.gate.carried.copy_(before)
    expected = before.clone()
    for i, label, mask in zip(index.tolist(), plain.label.tolist(), plain.mask.tolist(), strict=True):
        if mask:
            expected[i] = label
    unlabelled_gradients(method)
    assert torch.equal(method.gate.carried, expected) and not torch.equal(expected, before)


@pytest.mark.parametrize(
    ("counts", "target"), [((6, 3, 1), [72.0, 36.0, 12.0]), ((6, 0, 4), [40.0] * 3), ((), [40.0] * 3)]
)
def test_the_expected_images_of_a_class(counts, target):
    found = METHODS.get("layermatch")
    setup = copy.copy(make_setup())
    object.__setattr__(setup, "label_counts", counts)
    method: Any = found(ToyModel(), found.Hyper(gate_mode="class", gate_target=1.0), setup)
    assert method.gate.target.tolist() == pytest.approx(target)


@pytest.mark.parametrize("form", ["random", "random entries"])
def test_what_chance_lets_through(form, plain):
    method = gated(form, gate_keep=0.7)
    batch = ToyBatches(method).next(STEP)
    shares = []
    for _ in range(60):
        mine = gradients(method, method.loss(batch)["unlabelled"])["head.weight"]
        share = mine / plain.unlabelled["head.weight"]
        assert bool(((share.abs() < 1e-9) | ((share - 1).abs() < 1e-6)).all())
        shares.append(share)
    drawn = torch.stack(shares)
    assert drawn.mean().item() == pytest.approx(0.7, abs=0.15 if form == "random" else 0.05)
    assert bool((drawn == drawn[:, :, :1]).all()) == (form == "random")
    never, always = gated(form, gate_keep=0.0), gated(form, gate_keep=1.0)
    assert not unlabelled_gradients(never)["head.weight"].any()
    torch.testing.assert_close(unlabelled_gradients(always)["head.bias"], plain.unlabelled["head.bias"], **EXACT)


# -- the conflict gate ------------------------------------------------------------------------------------------------
def flat(parts: dict[str, Tensor]) -> Tensor:
    return torch.cat([parts[name].flatten() for name in HEAD])


def expected_under_conflict(rule: str, labelled: Tensor, unlabelled: Tensor) -> Tensor:
    product = labelled @ unlabelled
    if rule == "project":
        return unlabelled - min(product.item(), 0.0) / (labelled @ labelled) * labelled
    cosine = product / (labelled.norm() * unlabelled.norm())
    return unlabelled * (float(cosine > 0) if rule == "sign" else max(cosine.item(), 0.0))


@pytest.mark.parametrize("rule", ["sign", "cosine", "project"])
@pytest.mark.parametrize("agreeing", [True, False])
def test_what_agrees_with_the_labels_passes(rule, agreeing):
    """Two sets of weights: in one the gradients agree, in the other (the signs of the head turned) they do not."""
    seen = False
    for seed in range(12):
        model = ToyModel(seed)
        reference = Plain(model=copy.deepcopy(model))
        labelled, unlabelled = flat(reference.labelled), flat(reference.unlabelled)
        if bool(labelled @ unlabelled > 0) != agreeing:
            continue
        method = gated("conflict", model=model, gate_conflict=rule)
        mine = flat(unlabelled_gradients(method))
        torch.testing.assert_close(mine, expected_under_conflict(rule, labelled, unlabelled), **EXACT)
        cosine = labelled @ unlabelled / (labelled.norm() * unlabelled.norm())
        torch.testing.assert_close(method.gate.readings()["gate_cosine"][0], cosine, **EXACT)
        seen = True
    assert seen


def test_the_whole_step_under_conflict(plain):
    method = gated("conflict", gate_conflict="project")
    mine = gradients(method, method.loss(ToyBatches(method).next(STEP)).total())
    expected = flat(plain.labelled) + expected_under_conflict("project", flat(plain.labelled), flat(plain.unlabelled))
    torch.testing.assert_close(flat(mine), expected, **EXACT)


def test_gradients_of_a_linear_head_in_closed_form(plain):
    method = make_method("fixmatch", threshold=0.4, lambda_u=LAMBDA)
    batch = ToyBatches(method).next(STEP)
    views = torch.cat([batch.labelled.weak, batch.unlabelled.weak, batch.unlabelled.strong])
    features, logits = method.model(views, with_features=True)
    known = linear_gradient(features[:B], logits[:B], batch.labelled.y)
    guessed = linear_gradient(features[-N:], logits[-N:], plain.label, LAMBDA * plain.mask)
    for name in ("weight", "bias"):
        torch.testing.assert_close(known[name], plain.labelled[f"head.{name}"], **EXACT)
        torch.testing.assert_close(guessed[name], plain.unlabelled[f"head.{name}"], **EXACT)


vectors = st.integers(0, 2**31 - 1).map(lambda seed: torch.Generator().manual_seed(seed))


@settings(max_examples=20, deadline=None)
@given(vectors, st.sampled_from(["sign", "cosine", "project"]), st.floats(1e-3, 1e3))
def test_the_judgement_hangs_on_the_angle_alone(generator, rule, scale):
    """Scaling the unlabelled loss scales what passes; what passes never works against the labels."""
    from methods.layermatch.gates import _GradientFilter

    gate: Any = gated("conflict").gate
    known, weight = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    incoming = torch.randn(3, 4, generator=generator, dtype=torch.float64)

    def passed(gradient: Tensor) -> Tensor:
        live = weight.clone().requires_grad_()
        (out,) = _GradientFilter.apply(gate, rule, known, live)
        return torch.autograd.grad(out, live, gradient)[0]

    once = passed(incoming)
    torch.testing.assert_close(passed(scale * incoming), scale * once, rtol=1e-8, atol=1e-12)
    assert (once * known).sum() > -1e-10
    if (incoming * known).sum() > 0 and rule != "cosine":
        assert torch.equal(once, incoming)
    if rule == "project":
        torch.testing.assert_close(passed(once), once, rtol=1e-8, atol=1e-12)


# -- invariances of the gated head ------------------------------------------------------------------------------------
@settings(max_examples=20, deadline=None)
@given(vectors, st.floats(0, 1), st.floats(0, 1))
def test_gated_logits_are_those_of_the_head_and_the_gradient_is_linear_in_the_share(generator, one, other):
    head = nn.Linear(5, 3, dtype=torch.float64)
    x = torch.randn(7, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 3, (7,), generator=generator)

    def both(share: float) -> tuple[Tensor, Tensor]:
        z = gated_head(head, x, share)
        assert torch.equal(z, head(x))
        wanted = [x, head.weight] if share > 0 else [x]
        found = torch.autograd.grad(F.cross_entropy(z, y), wanted)
        return found[0], found[1] if share > 0 else torch.zeros_like(head.weight)

    full_x, full = both(1.0)
    for share in (one, other):
        to_x, to_weight = both(share)
        torch.testing.assert_close(to_x, full_x, **EXACT)
        torch.testing.assert_close(to_weight, share * full, rtol=1e-8, atol=1e-13)
