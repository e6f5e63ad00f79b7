"""LayerMatch beyond the head's gradient: whole stages (G8), the head's learning rate (G10), and what does not fit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from methods.layermatch.blocked_stages import blocked_below, last_stages
from methods.layermatch.heads import scaled_step
from platform.core.registry import METHODS
from platform.models import build
from tests.methods.test_layermatch_gates import EXACT, FORMS, LAMBDA, STEP, B, gated, gradients
from tests.methods.toy import CHANNELS, CLASSES, SIDE, ToyBatches, ToyModel, make_method, make_optimizer


# -- whole stages (G8) ------------------------------------------------------------------------------------------------
def small_cnn() -> nn.Module:
    return build("small_cnn", (CHANNELS, SIDE, SIDE), CLASSES, seed=0).double()


def in_stages(model: nn.Module, count: int) -> set[str]:
    names = [*model.stages[-count:], "head"]
    return {name for name, _ in model.named_parameters() if name.startswith(tuple(f"{stage}." for stage in names))}


@pytest.mark.parametrize("count", [1, 3])
def test_without_batch_statistics_a_blocked_stage_learns_from_labels_alone(count):
    model = small_cnn()
    for _ in range(2):
        model(torch.randn(32, CHANNELS, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    reference_model = copy.deepcopy(model)
    method = gated("stages", model=model, gate_stages=count, threshold=0.0)
    reference = make_method("fixmatch", model=reference_model, threshold=0.0, lambda_u=LAMBDA)
    for m in (method, reference):
        for layer in m.model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
    batch = ToyBatches(method).next(STEP)
    terms, plain_terms = method.loss(batch), reference.loss(batch)
    mine, labelled = gradients(method, terms.total()), gradients(reference, plain_terms["labelled"])
    everything = gradients(reference, plain_terms.total())
    blocked = in_stages(model, count)
    assert 3 < len(blocked) <= len(mine)
    for name, gradient in mine.items():
        torch.testing.assert_close(gradient, (labelled if name in blocked else everything)[name], **EXACT)
    assert any(not torch.allclose(labelled[name], everything[name]) for name in blocked)


def test_with_batch_statistics_weights_see_the_labelled_rows_only():
    """Convolution and batch norm against the formulas of docs/layermatch.md, section 2.5; all else as in FixMatch."""
    method = gated("stages", model=small_cnn(), gate_stages=2)
    reference = make_method("fixmatch", model=small_cnn(), threshold=0.4, lambda_u=LAMBDA)
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def after(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0].detach().clone()
            output.register_hook(lambda gradient: seen.__setitem__(name, (x, gradient)))

        return after

    for name, layer in reference.model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)) and name.startswith(("stage1", "stage2")):
            layer.register_forward_hook(watch(name))
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    batch = ToyBatches(method).next(STEP)
    terms, plain_terms = method.loss(batch), reference.loss(batch)
    torch.testing.assert_close(terms.total(), plain_terms.total(), **EXACT)
    everything = gradients(reference, plain_terms.total())
    mine = gradients(method, terms.total())
    assert len(seen) == 4
    for name, (x, gradient) in seen.items():
        layer = reference.model.get_submodule(name)
        if isinstance(layer, nn.Conv2d):
            expected = conv2d_weight(x[:B], layer.weight.shape, gradient[:B], padding=1)
        else:
            unit = F.batch_norm(x, None, None, training=True, eps=layer.eps)
            expected = (gradient * unit)[:B].sum((0, 2, 3))
            torch.testing.assert_close(mine[f"{name}.bias"], gradient[:B].sum((0, 2, 3)), **EXACT)
        torch.testing.assert_close(mine[f"{name}.weight"], expected, **EXACT)
    for name in ("stem.0.weight", "stem.1.weight", "stem.1.bias"):
        torch.testing.assert_close(mine[name], everything[name], **EXACT)
    for (name, ours), theirs in zip(method.model.named_buffers(), reference.model.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)


def test_layers_are_their_own_again_after_the_block():
    model = small_cnn()
    layers = last_stages(model, 2)
    with pytest.raises(RuntimeError, match="inside"), blocked_below(layers, 2):
        assert all("forward" in layer.__dict__ for layer in layers)
        raise RuntimeError("inside")
    assert not any("forward" in layer.__dict__ for layer in model.modules())


@pytest.mark.slow
def test_a_vit_can_be_blocked():
    model = build("timm:vit_tiny_patch16_224:patch=2", (CHANNELS, SIDE, SIDE), CLASSES, seed=0)
    method = gated("stages", model=model, gate_stages=1)
    batch = ToyBatches(method).next(0)
    mine = gradients(method, method.loss(batch)["unlabelled"])
    assert not mine["body.norm.weight"].any() and mine["body.blocks.0.mlp.fc1.weight"].any()


# -- the head's learning rate (G10) -----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_a_factor_is_a_learning_rate_of_its_own(kind, factor):
    def optimizer(model: nn.Module, head_lr: float) -> torch.optim.Optimizer:
        groups = [{"params": [p for n, p in model.named_parameters() if not n.startswith("head")]}]
        groups.append({"params": list(model.head.parameters()), "lr": head_lr})
        if kind == "adamw":
            return torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
        return torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)

    base = 0.01 if kind == "adamw" else 0.05
    # Without batch norm: a bias before it has a gradient of rounding errors alone, which AdamW blows up.
    ours = gated("hard", model=ToyModel(norm=False), head_lr_factor=factor)
    theirs = gated("hard", model=ToyModel(norm=False))
    mine, reference = optimizer(ours.model, base), optimizer(theirs.model, factor * base)
    batches = ToyBatches(ours)
    for step in range(6):
        for method, opt in ((ours, mine), (theirs, reference)):
            method.step(batches.next(step), opt)
            method.after_step(batches.next(step))
    for (name, p), q in zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-8, atol=1e-12, msg=name)


def test_a_factor_of_one_copies_nothing(monkeypatch):
    monkeypatch.setattr(torch, "_foreach_lerp_", None)
    with scaled_step([nn.Parameter(torch.zeros(2))], 1.0):
        pass


# -- what does not fit ------------------------------------------------------------------------------------------------
class CosineHead(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 5 * F.normalize(input, dim=1) @ F.normalize(self.weight, dim=1).T


def with_head(head: nn.Module | None) -> nn.Module:
    model = ToyModel()
    if head is None:
        del model.head
    else:
        model.head = head.double()
    return model


@pytest.mark.parametrize(
    ("values", "model", "message"),
    [
        ({"gate_mode": "conflict"}, with_head(CosineHead(12, 3, bias=False)), "gate_mode: 'conflict' needs one linear"),
        (
            {"gate_mode": "bias_only"},
            with_head(CosineHead(12, 3)),
            "gate_mode: 'bias_only' needs one linear.*CosineHead",
        ),
        (
            {"gate_mode": "class"},
            with_head(nn.Sequential(nn.Linear(12, 6), nn.Linear(6, 3))),
            "gate_mode: 'class' needs",
        ),
        ({"gate_mode": "bias_only"}, with_head(nn.Linear(12, 3, bias=False)), "gate_mode: 'bias_only'.*no bias"),
        ({"gate_mode": "stages"}, ToyModel(), "gate_stages: ToyModel does not name its stages"),
        (
            {"gate_mode": "stages", "gate_stages": 4},
            small_cnn(),
            "gate_stages: 4 is more than this model has; at most 3: stem.*stage2",
        ),
        ({}, with_head(None), "model: ToyModel has no classifier"),
        ({}, with_head(nn.Sequential(nn.Linear(12, 3))), "centre_mode: centres need a head with a weight"),
    ],
)
def test_a_gate_that_does_not_fit_the_model_says_so(values, model, message):
    with pytest.raises(ValueError, match=message):
        make_method("layermatch", model=model, **values)


@pytest.mark.parametrize(
    "values",
    [
        {"centre_temperature": 0.0},
        {"gate_mode": "soft"},
        {"gate": 1.5},
        {"gate_stages": 0},
        {"gate_threshold": 1.1},
        {"head_lr_factor": 0.0},
        {"centre_mode": "A1"},
        {"selector": "dash"},
    ],
)
def test_a_value_that_is_none_is_named(values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        METHODS.get("layermatch").Hyper(**values)


@pytest.mark.parametrize("form", [f for f in FORMS if f.split()[0] not in ("conflict", "weight_only", "bias_only")])
def test_forms_that_need_no_linear_head(form):
    method = gated(form, model=with_head(CosineHead(12, CLASSES, bias=False)))
    losses = method.step(ToyBatches(method).next(0), make_optimizer(method.model))
    assert losses.total().isfinite()
